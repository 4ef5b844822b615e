-- As 1.sql, and: what a probe belongs to has a table of its own.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  note BLOB NOT NULL,
  site_id INTEGER REFERENCES site(id)
);
CREATE TABLE site (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
CREATE INDEX probe_site ON probe(site_id);

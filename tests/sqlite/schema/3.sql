-- As 2.sql, but: every probe has a site, and its note has a length.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  note BLOB NOT NULL,
  note_octets INTEGER NOT NULL,
  site_id INTEGER NOT NULL REFERENCES site(id)
);
CREATE TABLE site (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
CREATE INDEX probe_site ON probe(site_id);

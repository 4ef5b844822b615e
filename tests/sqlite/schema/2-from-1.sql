CREATE TABLE site (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);
INSERT INTO site (name) SELECT DISTINCT substr(name, 1, 1) FROM probe ORDER BY 1;
ALTER TABLE probe ADD COLUMN site_id INTEGER REFERENCES site(id);
UPDATE probe SET site_id = (SELECT id FROM site WHERE site.name = substr(probe.name, 1, 1));
CREATE INDEX probe_site ON probe(site_id);

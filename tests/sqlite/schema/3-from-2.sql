-- A column that is NOT NULL without a default takes a new table.
CREATE TABLE new_probe (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  note BLOB NOT NULL,
  note_octets INTEGER NOT NULL,
  site_id INTEGER NOT NULL REFERENCES site(id)
);
INSERT INTO new_probe SELECT id, name, note, length(note), site_id FROM probe;
DROP TABLE probe;
ALTER TABLE new_probe RENAME TO probe;
CREATE INDEX probe_site ON probe(site_id);

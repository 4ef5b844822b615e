-- A database of the tests' own, in three versions.
CREATE TABLE probe (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  note BLOB NOT NULL
);

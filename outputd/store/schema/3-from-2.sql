-- Bodies of other tools are read as they are: a batch says of which format it was and where its times are from, and the
-- body itself is kept, for what has no column and for a better reader. All before were native.
ALTER TABLE batches ADD COLUMN format TEXT NOT NULL DEFAULT 'native';
ALTER TABLE batches ADD COLUMN time_from TEXT NOT NULL DEFAULT 'native';
CREATE TABLE raw_bodies (
  batch_id INTEGER PRIMARY KEY REFERENCES batches(id),
  format TEXT NOT NULL,
  version INTEGER NOT NULL,           -- of the reader that made its rows
  body BLOB NOT NULL                  -- as it was decoded, in zstd
);

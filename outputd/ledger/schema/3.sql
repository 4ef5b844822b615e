-- What must outlive the result files: which addresses are known and which of them input_service still lacks, and the
-- Idempotency-Keys of the last hours. What lies above the mark in the
-- result files is read again at the start.
CREATE TABLE known (
  address BLOB PRIMARY KEY            -- 4 or 16 bytes
) WITHOUT ROWID;

CREATE TABLE waiting (
  id INTEGER PRIMARY KEY,             -- in the order of discovery
  address BLOB NOT NULL
);
CREATE TRIGGER known_waits AFTER INSERT ON known BEGIN
  INSERT INTO waiting (address) VALUES (new.address);
END;

CREATE TABLE refused (
  address BLOB PRIMARY KEY,
  status INTEGER NOT NULL,            -- what input_service answered
  refused_at DATETIME NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
  name BLOB PRIMARY KEY,              -- hash of node and Idempotency-Key
  digest BLOB NOT NULL,               -- SHA-256 of the body
  answer TEXT NOT NULL,               -- JSON
  ran_s REAL NOT NULL                 -- how long the service had run then
) WITHOUT ROWID;
CREATE INDEX keys_ran_s ON keys(ran_s);

-- One row: batches up to this id are taken in; how many addresses are known; how long the service has run, over all its
-- starts.
CREATE TABLE mark (batch_id INTEGER NOT NULL, known INTEGER NOT NULL, ran_s REAL NOT NULL DEFAULT 0);
INSERT INTO mark (batch_id, known) VALUES (0, 0);

-- Who has found how many of the known addresses: a token's name, or the /24 or /48 of a peer; '' is all others.
CREATE TABLE finder (
  sender TEXT PRIMARY KEY,
  found INTEGER NOT NULL
) WITHOUT ROWID;

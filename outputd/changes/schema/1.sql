-- What changed, found from the result files, and what is needed to go on finding. What has gone with a pruned result
-- file is known here alone: this file is no cache.
CREATE TABLE change (
  id INTEGER PRIMARY KEY,             -- rising, in the order in which they were found
  kind TEXT NOT NULL,
  topic INTEGER NOT NULL,             -- a change lasts until the next one of its topic, of the same node and target
  node TEXT NOT NULL,
  target TEXT NOT NULL,               -- empty for a change of the node itself
  since DATETIME NOT NULL,            -- measured, or the arrival for a change of the node itself
  until DATETIME,                     -- NULL while it lasts
  before TEXT,                        -- JSON, as is the next: percent, nanoseconds, or the hops of a route; NULL is none
  after TEXT
);
-- What a change is. One that is found again is the same.
CREATE UNIQUE INDEX change_identity ON change(node, target, kind, since);
CREATE INDEX change_lasting ON change(node, target, topic) WHERE until IS NULL;

-- One row.
CREATE TABLE mark (
  batch_id INTEGER NOT NULL,          -- batches up to this one were looked at
  received_at DATETIME,               -- and when that one arrived
  remembered_batch_id INTEGER NOT NULL  -- what is remembered is as it was after this one
);
INSERT INTO mark VALUES (0, NULL, 0);

-- What the detector remembers, in MessagePack: the nodes, then the pairs of node and target, some in each part.
CREATE TABLE memory (
  part INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);

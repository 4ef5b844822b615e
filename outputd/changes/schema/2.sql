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
  after TEXT,
  found_at DATETIME,                  -- when the POST arrived that showed it; NULL if it was found before version 2
  owed INTEGER                        -- 1 while the webhook has yet to get it, else NULL
);
-- What a change is. One that is found again is the same.
CREATE UNIQUE INDEX change_identity ON change(node, target, kind, since);
CREATE INDEX change_lasting ON change(node, target, topic) WHERE until IS NULL;
CREATE INDEX change_owed ON change(owed) WHERE owed IS NOT NULL;

-- One row.
CREATE TABLE mark (
  batch_id INTEGER NOT NULL,          -- batches up to this one were looked at
  received_at DATETIME,               -- and when that one arrived
  remembered_batch_id INTEGER NOT NULL, -- what is remembered is as it was after this one
  owed_after INTEGER                  -- what batches up to this one show is owed to no webhook; NULL without one
);
INSERT INTO mark VALUES (0, NULL, 0, NULL);

-- What the detector remembers, in MessagePack: the nodes, then the pairs of node and target, some in each part.
CREATE TABLE memory (
  part INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);

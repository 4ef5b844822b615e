-- One result file. The first three tables are those that nodes, scripts and merges know: columns and order are fixed.
CREATE TABLE ping_results (
  id INTEGER PRIMARY KEY,
  ip TEXT NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  packet_loss REAL NOT NULL,          -- percent
  avg_rtt INTEGER,                    -- nanoseconds
  timestamp DATETIME NOT NULL,        -- UTC, 2026-01-07 22:30:00.123456789
  error TEXT,
  created_at DATETIME NOT NULL        -- UTC, when the batch arrived
);
CREATE INDEX ping_results_ip ON ping_results(ip);
CREATE INDEX ping_results_timestamp ON ping_results(timestamp);

CREATE TABLE traceroute_results (
  id INTEGER PRIMARY KEY,             -- the id of its result
  ping_result_id INTEGER NOT NULL REFERENCES ping_results(id),
  method TEXT,
  completed BOOLEAN,
  error TEXT
);

CREATE TABLE traceroute_hops (
  id INTEGER PRIMARY KEY,             -- rising, in the order the node wrote them
  traceroute_id INTEGER NOT NULL REFERENCES traceroute_results(id),
  ttl INTEGER NOT NULL,
  ip TEXT,
  rtt INTEGER,                        -- nanoseconds
  timeout BOOLEAN NOT NULL
);
CREATE INDEX traceroute_hops_ip ON traceroute_hops(ip) WHERE ip IS NOT NULL;

-- One row for each POST that stored or rejected items; its results have the ids first_id to last_id.
CREATE TABLE batches (
  id INTEGER PRIMARY KEY,
  node TEXT NOT NULL,
  received_at DATETIME NOT NULL,
  digest BLOB NOT NULL,               -- SHA-256 of the decoded body
  key TEXT,                           -- Idempotency-Key
  first_id INTEGER,
  last_id INTEGER,
  accepted INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  format TEXT NOT NULL DEFAULT 'native',
  time_from TEXT NOT NULL DEFAULT 'native'  -- where times are from that its items lack: header, arrival
);

CREATE TABLE rejected_results (
  id INTEGER PRIMARY KEY,
  batch_id INTEGER NOT NULL REFERENCES batches(id),
  item_index INTEGER NOT NULL,
  field TEXT NOT NULL,
  reason TEXT NOT NULL,
  raw TEXT NOT NULL                   -- as sent, at most 64 KiB
);

-- The bodies of other formats, for what has no column and for a better reader.
CREATE TABLE raw_bodies (
  batch_id INTEGER PRIMARY KEY REFERENCES batches(id),
  format TEXT NOT NULL,
  version INTEGER NOT NULL,           -- of the reader that made its rows
  body BLOB NOT NULL                  -- as it was decoded, in zstd
);

CREATE TABLE rtt_spread (
  ping_result_id INTEGER PRIMARY KEY REFERENCES ping_results(id),
  min_rtt INTEGER,                    -- nanoseconds, these three
  max_rtt INTEGER,
  stddev_rtt INTEGER
);

-- What the file is: its place in the order of files, and where its ids begin. One row.
CREATE TABLE result_file (
  sequence INTEGER NOT NULL,
  created_at DATETIME NOT NULL,
  first_id INTEGER NOT NULL,          -- no result, batch or hop of an older file has these ids
  first_batch_id INTEGER NOT NULL,
  first_hop_id INTEGER NOT NULL,
  probed_at DATETIME,
  instance TEXT                       -- a random name, the same in all files of an instance; NULL in none
);

-- What the result files' own indexes cannot answer cheaply, counted for each file (by its sequence). Nothing here is
-- known here alone: a summary that is missing or damaged is made again from the result files.
-- Empty until every file was counted once: until then all counts are of a part, and no answer is made of them.
CREATE TABLE whole (
  received_at DATETIME                -- the last batch that was counted by then
);

CREATE TABLE file (
  sequence INTEGER PRIMARY KEY,
  created_at DATETIME NOT NULL,       -- of the result file: with its sequence it tells which file is meant
  batch_id INTEGER NOT NULL,          -- batches up to this one are in `target`, `node` and `minute`
  received_at DATETIME,               -- when that batch arrived
  hop_id INTEGER NOT NULL,            -- hops up to this one are in `link` and `passage`
  links INTEGER NOT NULL,             -- rows of `link` at most
  passages INTEGER NOT NULL,          -- rows of `passage` at most
  left_out INTEGER NOT NULL           -- rows of both that found no room, and replies of traceroutes that were too wide
);

-- Arrivals in their order, for as long as the clock seems not to have been set: a new one begins when it goes back by
-- more than a minute, or on by more than an hour, which may as well be an hour without arrivals.
CREATE TABLE stretch (
  number INTEGER PRIMARY KEY,         -- from 1; what is counted after a newer file has none: 0
  began DATETIME NOT NULL,            -- the first arrival
  latest DATETIME NOT NULL
);

CREATE TABLE target (
  file INTEGER NOT NULL,
  ip TEXT NOT NULL,
  node TEXT NOT NULL,
  results INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  lost INTEGER NOT NULL,              -- each result's sent less received, never below 0
  first_seen DATETIME NOT NULL,
  last_seen DATETIME NOT NULL,
  last_id INTEGER,                    -- the newest result that has a round-trip time
  last_rtt_ns INTEGER,                -- and that time
  PRIMARY KEY (file, ip, node)
) WITHOUT ROWID;

CREATE TABLE node (
  file INTEGER NOT NULL,
  node TEXT NOT NULL,
  stretch INTEGER NOT NULL,
  batches INTEGER NOT NULL,
  results INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  first_heard DATETIME NOT NULL,
  last_heard DATETIME NOT NULL,
  clock_id INTEGER,                   -- the newest batch with results
  clock_offset_s REAL,                -- its latest timestamp less its arrival
  PRIMARY KEY (file, node, stretch)
) WITHOUT ROWID;

CREATE TABLE minute (
  file INTEGER NOT NULL,
  node TEXT NOT NULL,
  minute TEXT NOT NULL,               -- of arrival: 2026-01-07 22:30
  stretch INTEGER NOT NULL,
  results INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  received INTEGER NOT NULL,
  lost INTEGER NOT NULL,              -- each result's sent less received, never below 0
  PRIMARY KEY (file, minute, node, stretch)
) WITHOUT ROWID;

-- Numbers of nodes, for the two tables below: ',1,12,' are the nodes 1 and 12.
CREATE TABLE name (
  id INTEGER PRIMARY KEY,
  node TEXT NOT NULL UNIQUE
);

-- Two addresses that answered at consecutive TTLs of one traceroute.
CREATE TABLE link (
  file INTEGER NOT NULL,
  near TEXT NOT NULL,
  far TEXT NOT NULL,
  nodes TEXT NOT NULL,
  sender INTEGER NOT NULL,            -- a number for who brought it first, and gives it up when there is no room
  count INTEGER NOT NULL,
  difference_ns REAL NOT NULL,        -- sum of the differences of round-trip time
  differences INTEGER NOT NULL,       -- how many
  first_seen DATETIME NOT NULL,
  last_seen DATETIME NOT NULL,
  PRIMARY KEY (file, near, far)
) WITHOUT ROWID;
CREATE INDEX link_far ON link(file, far);
CREATE INDEX link_often ON link(count) WHERE count >= 32;  -- few, among which the most frequent ones are sought

-- A hop that answered on the way to a target.
CREATE TABLE passage (
  file INTEGER NOT NULL,
  hop TEXT NOT NULL,
  target TEXT NOT NULL,
  nodes TEXT NOT NULL,
  sender INTEGER NOT NULL,            -- a number for who brought it first, and gives it up when there is no room
  count INTEGER NOT NULL,
  first_seen DATETIME NOT NULL,
  last_seen DATETIME NOT NULL,
  PRIMARY KEY (file, hop, target)
) WITHOUT ROWID;

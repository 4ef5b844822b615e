-- Who has found how many of the known addresses: a token's name, or the /24 or /48 of a peer; '' is all others.
CREATE TABLE finder (
  sender TEXT PRIMARY KEY,
  found INTEGER NOT NULL
) WITHOUT ROWID;

-- Names of addresses as the DNS had them. A cache: what is deleted is looked up again when it is shown.
CREATE TABLE name (
  ip TEXT PRIMARY KEY,
  name TEXT,                          -- NULL: it has none, or nobody answered
  asked_at INTEGER NOT NULL,          -- seconds since 1970, as is the next
  again_at INTEGER NOT NULL           -- from when it is looked up again, once it is shown
) WITHOUT ROWID;

-- What the webhook has yet to get is marked in the list of changes.
ALTER TABLE change ADD COLUMN found_at DATETIME;
ALTER TABLE change ADD COLUMN owed INTEGER;
CREATE INDEX change_owed ON change(owed) WHERE owed IS NOT NULL;
ALTER TABLE mark ADD COLUMN owed_after INTEGER;

-- The age of a key is the time that the service has run since its use. What is known is only the time of day of each
-- use: the latest one counts as now, and so does one that lies in the future.
ALTER TABLE mark ADD COLUMN ran_s REAL NOT NULL DEFAULT 0;
DROP INDEX keys_used_at;
ALTER TABLE keys RENAME COLUMN used_at TO ran_s;
UPDATE keys SET ran_s = min(ran_s, CAST(strftime('%s', 'now') AS REAL));
UPDATE keys SET ran_s = ran_s - (SELECT max(ran_s) FROM keys);
CREATE INDEX keys_ran_s ON keys(ran_s);

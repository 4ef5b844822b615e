-- Files of two instances have the same ids, and nothing told one instance from the other. The file that goes on being
-- written names its instance from here on, and later files have the name from it; those closed before have none.
ALTER TABLE result_file ADD COLUMN instance TEXT;
UPDATE result_file SET instance = lower(hex(randomblob(16)));

"""Results shipped to object storage, once each, as Parquet that any engine reads."""

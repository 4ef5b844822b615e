"""Results taken away whole, each with its traceroute, node, batch and instance, as NDJSON or Parquet."""

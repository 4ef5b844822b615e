"""Results shipped to object storage, once each, as Parquet that any engine reads."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow asks once, when it comes; its own one keeps 30 MiB

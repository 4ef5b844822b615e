"""A POST, from its bytes to its answer."""

"""HTTP as we ask others."""

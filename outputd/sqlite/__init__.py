"""How this house uses SQLite."""

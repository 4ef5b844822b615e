"""Hops known and owed, keys used, and the feed that takes hops to input_service."""

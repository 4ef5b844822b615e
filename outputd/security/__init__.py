"""Tokens, certificates, and whom we believe."""

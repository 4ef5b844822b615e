"""outputd-send: posts files of results."""

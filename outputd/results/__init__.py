"""What a node measures. Pure."""

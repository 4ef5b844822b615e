"""What changed: routes, loss and round-trip times of a target, and nodes that fell silent, found from the files."""

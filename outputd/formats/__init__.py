"""What other probes write, read into results: one module a format. Pure."""

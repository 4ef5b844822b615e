"""Counts made from the result files, and the thread that keeps them up."""

"""python -m outputd.demo: a small internet and the neighbours of a service."""

"""Measures outputd: the whole way of a POST beside what one thread could store without HTTP, on the same disk."""

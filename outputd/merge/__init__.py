"""The files of any instances as one database."""

"""What is made from the code: reference pages, man pages, shell completion, the Debian package."""

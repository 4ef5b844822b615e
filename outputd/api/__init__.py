"""What both ports answer to programs."""

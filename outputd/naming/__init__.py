"""What is known of an address beside the results: the network that it belongs to, and its name in the DNS."""

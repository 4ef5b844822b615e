"""outputd, the collector behind a fleet of ping nodes: stores their results and feeds the hops it finds back."""

__version__ = "0.0.1"

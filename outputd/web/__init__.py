"""HTTP as we serve it."""

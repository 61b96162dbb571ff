"""``make bench``: every speed claim as a ratio, both sides measured in one run on one machine."""

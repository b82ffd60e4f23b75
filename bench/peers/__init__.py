"""Peers that need an environment of their own; see README.md."""

"""Benchmarks: `python -m bench.<name>` runs the peer and this project in one go."""

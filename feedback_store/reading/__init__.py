"""Typed reads, counts and streams of what is stored."""

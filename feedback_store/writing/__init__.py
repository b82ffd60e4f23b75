"""The write path: what a caller hands in, made fit, numbered and appended."""

"""One database on disk: its tables, its lock, rows into it."""

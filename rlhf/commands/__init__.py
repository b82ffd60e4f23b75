"""The commands' bodies, one file a group; each imports what is heavy only when it runs."""

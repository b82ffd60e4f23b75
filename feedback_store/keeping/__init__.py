"""What is kept, copied elsewhere, let go, or erased."""

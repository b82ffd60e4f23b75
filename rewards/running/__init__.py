"""A reward found, bound, called, and what came of it."""

"""Texts as rewards read them: one at a time or a batch at once."""

"""The laboratory: what a reward is worth, before anything is trained on it."""

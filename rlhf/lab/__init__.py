"""The reward laboratory: what a reward is worth, before and after anything is trained on it."""

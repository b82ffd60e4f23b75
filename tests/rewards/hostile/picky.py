"""In order but for some answers, which it dies of or never comes back from."""

import os


def picky(prompts, completions, expected, **columns):
    for completion in completions:
        if completion == "die":
            os._exit(3)
        while completion == "hang":
            pass
    return expected

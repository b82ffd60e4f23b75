"""Does its harm when it is merely loaded."""

from contextlib import suppress
from pathlib import Path

with suppress(OSError):
    Path(__file__).with_name("imported").touch()


def harmless(prompts, completions, *, scale=1.0, **columns):
    return [scale] * len(completions)

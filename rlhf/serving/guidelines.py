"""What reviewers are told to look for: a Markdown file, read once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from feedback_store import printable
from rlhf.config import existing_path
from rlhf.errors import UsageError

_MOST: Final = 100_000


def read_guidelines(path: Path | None, base: Path) -> str | None:
    """The file's text, None where none is named; raises `UsageError` for one that can't be read."""
    if path is None:
        return None
    found = existing_path(path, base)
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"review.guidelines: {found}: no text in UTF-8") from error
    if len(text) > _MOST:
        raise UsageError(
            f"review.guidelines: {found}: {len(text)} characters, at most {_MOST} are shown"
        )
    return printable(text)

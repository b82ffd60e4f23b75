"""Texts cleaned and anonymised: those of a whole chunk together, as most need neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from feedback_store.redact import PLACEHOLDER, redact, redact_all
from rlhf.data.cleaning import Cleaner
from rlhf.errors import DataError

Told = Counter[str]
"""How many texts were cleaned and anonymised, and placeholders by kind."""


class SafeTexts:
    """A chunk's texts as they will stand in the file."""

    def __init__(self, texts: Sequence[str], clean: Cleaner | None, anonymise: bool) -> None:
        self._problems: dict[int, DataError] = {}
        cleaned = list(texts)
        if clean is not None:
            for at, begun, rounds in clean.begun(texts):
                try:
                    cleaned[at] = clean.finished(begun, rounds)
                except DataError as error:
                    self._problems[at] = error
        self._texts = redact_all(cleaned) if anonymise else cleaned
        each = zip(texts, cleaned, self._texts, strict=True)
        self._told = {
            at: _told(text, between, safe)
            for at, (text, between, safe) in enumerate(each)
            if safe is not text
        }

    def take(self, at: int, counts: Told) -> str:
        """A text, counted; raises `DataError` where a rule took too long."""
        if at in self._told:
            counts.update(self._told[at])
        if at in self._problems:
            raise self._problems[at]
        return self._texts[at]


def safe_text(text: str, clean: Cleaner | None, anonymise: bool) -> tuple[str, Told]:
    """One text by itself, and what was done to it."""
    cleaned = clean(text) if clean else text
    safe = redact(cleaned) if anonymise else cleaned
    return safe, _told(text, cleaned, safe)


def _told(text: str, cleaned: str, safe: str) -> Told:
    told = Counter(["cleaned"] if cleaned != text else [])
    if safe != cleaned:
        told["anonymised"] = 1
        told.update(PLACEHOLDER.findall(safe))
        told.subtract(PLACEHOLDER.findall(cleaned))
    return told

"""English names: after "my name is", "Mr.", "Dear" and their like, and below a closing formula."""

import re
from collections.abc import Iterator
from typing import Final

from feedback_store.detectors.name_lexicon import FIRST_NAMES, NOT_A_NAME

_PART: Final = r"[A-Z][A-Za-z]*(?:['’-][A-Z]?[A-Za-z]+){0,2}"
_NAME: Final = (
    rf"(?:[A-Z]\. ){{0,2}}{_PART}"
    rf"(?: (?:[A-Z]\.(?= )|(?:de|da|van|von|der|la|al|bin) {_PART}|{_PART})){{0,3}}"
)
_PHRASES: Final = (
    r"my (?:(?:full|first|last|real|given|legal) )?name(?: is|'s|’s)",
    r"name on (?:the|my) [a-z]{1,15}(?: is|:)",
    r"name:",
    r"holder:",
    r"patient:",
    r"recipient:",
    r"contact:",
    r"attn:",
    r"call me",
    r"regards,\n?",
    r"sincerely,\n?",
    r"yours truly,\n?",
    r"cheers,\n?",
)
_TITLES: Final = (
    r"Mr\b\.?",
    r"Mrs\b\.?",
    r"Ms\b\.?",
    r"Miss\b",
    r"Mx\b\.?",
    r"Mister\b",
    r"Dear\b",
)
# Every alternative begins with its own letter: so the search skips to these letters.
_ALL: Final = (*_PHRASES, *(text[0].upper() + text[1:] for text in _PHRASES), *_TITLES)
_CUE = re.compile(
    rf"(?:{'|'.join(_ALL)}|I am called|I'm called|I go by) {{0,2}}(?={_PART}|[a-z])", re.ASCII
)
_SPEAKING = re.compile(
    rf"(?:This is|this is|It's|it's|I am|I'm) (?=({_NAME}),? (?:speaking|calling|here|from)\b)",
    re.ASCII,
)
_WHOSE = re.compile(
    r"(?:^|[^A-Za-z ] *|\b(?:full|first|last|customer|patient|contact|account|given|legal|"
    r"passenger|guest|recipient|sender|holder|student|my|your|his|her) )$",
    re.IGNORECASE,
)
_LETTER = re.compile("[A-Za-z]")
_WHOLE = re.compile(_NAME)
_LOWER = re.compile(r"([a-z]{2,15})(?: ([a-z]{2,20}))?")
_LOWER_CUE = re.compile(r"name(?:'s|’s| is|:) ?$", re.IGNORECASE)
_GOES_ON = re.compile(r"[ ]?(?:$|[.,;!?\n)]|and\b|from\b|but\b)")


def english_names(text: str) -> Iterator[tuple[int, int]]:
    """Capitalised words after a cue; small ones only after "name is" and of a known first name."""
    for cue in _CUE.finditer(text):
        if not _stands_alone(text, cue):
            continue
        if end := _capitalised(text, cue.end()) or _small(text, cue):
            yield cue.end(), end
    if " " not in text:
        return
    for cue in _SPEAKING.finditer(text):
        if not _is_not_name(cue[1]) and (end := _capitalised(text, cue.end())):
            yield cue.end(), end


def _stands_alone(text: str, cue: re.Match[str]) -> bool:
    """Whether the cue is a word of its own; "username:" and "File name:" name no person."""
    before = text[max(0, cue.start() - 16) : cue.start()]
    if cue[0][:5].lower() == "name:":
        return _WHOSE.search(before) is not None
    return not _LETTER.match(before[-1:])


def _capitalised(text: str, start: int) -> int:
    name = _WHOLE.match(text, start)
    if not name or _is_not_name(name[0]):
        return 0
    end = name.end() - 2 * name[0].endswith(("'s", "’s"))
    # "My name is Ann. The ..." and "Dear Ann I ...": the next sentence is no part of the name.
    words = name[0].split(" ")
    while len(words) > 1 and words[-1].rstrip(".").lower() in NOT_A_NAME:
        end -= len(words.pop()) + 1
    return end


def _is_not_name(name: str) -> bool:
    first = name.split(" ")[0]
    return first.lower() in NOT_A_NAME or (len(first) > 3 and first.isupper())


def _small(text: str, cue: re.Match[str]) -> int:
    if not _LOWER_CUE.search(text, max(0, cue.end() - 12), cue.end()):
        return 0
    name = _LOWER.match(text, cue.end())
    if not name or name[1] not in FIRST_NAMES:
        return 0
    last = name.end(2) if name[2] and name[2] not in NOT_A_NAME else -1
    return last if last > 0 and _GOES_ON.match(text, last) else name.end(1)

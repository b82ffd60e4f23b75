"""English names: after "my name is", "Mr.", "Dear" and their like, and below a closing formula."""

import re
from collections.abc import Iterator
from typing import Final

from feedback_store.detectors.name_lexicon import FIRST_NAMES, NOT_A_NAME

_PART: Final = r"[A-Z][A-Za-z]*(?:['’-][A-Z]?[A-Za-z]+){0,2}"
_NAME: Final = rf"{_PART}(?: (?:[A-Z]\.(?= )|(?:de|da|van|von|der|la|al|bin) {_PART}|{_PART})){{0,3}}"
_CUE = re.compile(
    r"(?:\b(?:[Mm]y (?:(?:full|first|last|real|given|legal) )?name(?: is|'s|’s|:)"
    r"|[Mm]y name (?:on|in) (?:the|my) [a-z]+ is"
    r"|(?:[Tt]he )?[Nn]ame on (?:the|my) [a-z]+(?: is|:)"
    r"|I am called|I'm called|I go by|[Cc]all me|[Pp]eople call me"
    r"|(?:[Ff]ull |[Ff]irst |[Ll]ast |[Cc]ustomer |[Pp]atient |[Cc]ontact |[Aa]ccount |[Uu]ser )?"
    r"(?:[Nn]ame|[Hh]older|[Rr]ecipient|[Cc]ontact|[Aa]ttn|[Pp]atient|[Cc]ardholder):"
    r"|Mr\.?|Mrs\.?|Ms\.?|Miss|Mx\.?|Mister|Dear)"
    r"|\b(?:[Rr]egards|[Ss]incerely|[Cc]heers|[Yy]ours(?: truly| sincerely)?),\s)"
    rf"[ \n]{{0,2}}(?={_PART}|[a-z])",
    re.ASCII,
)
_SPEAKING = re.compile(
    rf"\b(?:[Tt]his is|[Ii]t's|I am|I'm) (?=({_NAME}),? (?:speaking|calling|here|from|writing)\b)",
    re.ASCII,
)
_WHOLE = re.compile(_NAME)
_LOWER = re.compile(r"([a-z]{2,15})(?: ([a-z]{2,20}))?")
_LOWER_CUE = re.compile(r"name(?:'s|’s| is|:) ?$", re.IGNORECASE)
_GOES_ON = re.compile(r"[ ]?(?:$|[.,;!?\n)]|and\b|from\b|but\b)")


def english_names(text: str) -> Iterator[tuple[int, int]]:
    """Capitalised words after a cue; small ones only after "name is" and of a known first name."""
    for cue in _CUE.finditer(text):
        if end := _capitalised(text, cue.end()) or _small(text, cue):
            yield cue.end(), end
    for cue in _SPEAKING.finditer(text):
        if not _is_not_name(cue[1]) and (end := _capitalised(text, cue.end())):
            yield cue.end(), end


def _capitalised(text: str, start: int) -> int:
    name = _WHOLE.match(text, start)
    if not name or _is_not_name(name[0]):
        return 0
    end = name.end()
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

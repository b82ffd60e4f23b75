"""Single characters put in order: invisible ones, full-width ones, doubled marks, odd spaces."""

from __future__ import annotations

import re

from rewards.texts.text import EMOJI

# Chinese sentences are written with these full-width marks; the other forms are letters, digits
# and signs that an old input method made wide.
_CHINESE_MARKS = "！（），：；？～"
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in _CHINESE_MARKS}
WIDE = re.escape("".join(map(chr, _WIDE)))
_IS_WIDE = re.compile(f"[{WIDE}]")

INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff"
)
_IS_INVISIBLE = re.compile(f"[{INVISIBLE}]")
# A joiner between emoji makes one of two, and Persian and Indic words are spelt with them.
_JOINED = r"\u0600-\u06ff\u0900-\u0dff\ufe0f" + EMOJI
_DROPPED = re.compile(
    f"(?:(?![\u200c\u200d])[{INVISIBLE}])+|(?<![{_JOINED}])[\u200c\u200d]+|[\u200c\u200d]+(?![{_JOINED}])"
)
LINE_ENDS = "\r\x0b\x0c\x85\u2028\u2029"
_NEW_LINE = re.compile(f"\r\n?|[{LINE_ENDS}]")

_ONCE = "！？。，、；：!?,~～"
_TWICE = "…—"
_THRICE = r".=*_#\-·"
MARK = f"[{_ONCE}{_TWICE}{_THRICE}]"
_DOUBLED = re.compile(MARK + MARK)  # twice over, not {2}: so the search skips to the first
_AGAIN = re.compile(f"([{_ONCE}])\\1+|([{_TWICE}])\\2{{2,}}|([{_THRICE}])\\3{{3,}}")

SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\t"
_ODD_SPACE = re.compile(f"[{SPACES}]")
_INDENT = re.compile("^\u3000+", re.MULTILINE)
_WITHIN = re.compile(r"(?<=\S) {2,}")
_TRAILING = re.compile(r"(?<! ) +(?=\n)")
_EMPTY_LINES = re.compile(r"\n{3,}")


def narrow(text: str) -> str:
    """Full-width letters, digits and signs as ASCII: `ＡＢＣ１２３％` → `ABC123%`."""
    if text.isascii() or not _IS_WIDE.search(text):
        return text
    return text.translate(_WIDE)


def drop_invisible(text: str) -> str:
    """Control, zero-width and direction characters out; ends of line as `\\n`."""
    if not text.isprintable():
        text = _NEW_LINE.sub("\n", text)
        if _IS_INVISIBLE.search(text):
            text = _DROPPED.sub("", text)
    return text


def single_marks(text: str) -> str:
    """`！！！！` → `！`, `………` → `……`, `------` → `---`."""
    return _AGAIN.sub(_shortest, text) if _DOUBLED.search(text) else text


def _shortest(match: re.Match[str]) -> str:
    mark = match[0][0]
    return mark if match[1] else mark * 2 if match[2] else mark * 3


def collapse_spaces(text: str) -> str:
    """One space between words and one empty line between paragraphs, none at the ends.

    The spaces that begin a line stay: they may be a program's.
    """
    if not text.isprintable():
        # A wide space at the head of a line is how Chinese paragraphs begin, and no code.
        text = _ODD_SPACE.sub(" ", _INDENT.sub("", text))
    if "  " in text:
        text = _WITHIN.sub(" ", text)
    if "\n" in text:
        text = _EMPTY_LINES.sub("\n\n", _TRAILING.sub("", text))
    return text.strip()

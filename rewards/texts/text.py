"""Text as every reward reads it: strings or messages in, characters, words and sentences out."""

import logging
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

Turn = str | Sequence[Mapping[str, Any]]
"""A prompt or a completion as TRL hands it over: plain text, or a list of messages."""

# Han, kana and Hangul: scripts whose characters, not spaces, carry the words.
CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
EMOJI = r"\u2600-\u27bf\U0001f000-\U0001faff"

_CJK_CHAR = re.compile(f"[{CJK}]")
_SPAN = re.compile(rf"(?P<cjk>[{CJK}]+)|[^\W_{CJK}]+(?:['’][^\W_{CJK}]+)?")
_SOMETHING = re.compile(rf"[\w{EMOJI}]")  # in a sentence, besides punctuation
# A full stop ends a sentence only before a space or the end, so that 3.5 stays whole.
_SENTENCE = re.compile(r"(?:[^。！？!?；;\n.]|\.(?![\s\"'”’)]|$))+[。！？!?；;.…]*[”’\"')）]*")

CLOSED = re.compile(r"[。！？!?.…；;][”’\"')）]*$")
"""Finds the mark that a sentence ends with."""


def completion_text(completion: Turn) -> str:
    """Return what the model itself said: tool results inside a completion are left out.

    >>> completion_text([{"role": "assistant", "content": "Hello."}])
    'Hello.'
    """
    return _join(completion, lambda role: role in (None, "assistant"))


class Answers(list[Turn]):
    """The completions of one batch, whose texts are read once for all of its rewards."""

    @cached_property
    def texts(self) -> list[str]:
        return _texts(self)


def completion_texts(completions: Sequence[Turn]) -> list[str]:
    """Return `completion_text` of each."""
    return completions.texts if isinstance(completions, Answers) else _texts(completions)


def _texts(completions: Sequence[Turn]) -> list[str]:
    return _single(completions) or [
        turn if isinstance(turn, str) else completion_text(turn) for turn in completions
    ]


def _single(completions: Sequence[Any]) -> list[str]:
    """Read completions of a single message each, the usual case, without ado; else nothing."""
    try:
        messages = [message for (message,) in completions]
        roles = {message["role"] for message in messages}
        contents = [message["content"] for message in messages]
    except (ValueError, KeyError, TypeError):
        return []
    return contents if roles == {"assistant"} and set(map(type, contents)) == {str} else []


def prompt_text(prompt: Turn) -> str:
    """Return the conversation so far without its system message.

    >>> prompt_text([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
    'Hi'
    """
    return _join(prompt, lambda role: role != "system")


def is_chinese(text: str) -> bool:
    """Tell whether Chinese characters outnumber the words of other scripts."""
    spans = list(_SPAN.finditer(text))
    cjk = sum(len(span["cjk"]) for span in spans if span["cjk"])
    return cjk > sum(1 for span in spans if not span["cjk"])


def cjk_count(text: str) -> int:
    """Count the characters of scripts written without spaces."""
    return len(_CJK_CHAR.findall(text))


def spans(text: str) -> list[tuple[str, bool]]:
    """Cut text into CJK runs (True) and words of other scripts (False), without punctuation."""
    return [(match.group(), match["cjk"] is not None) for match in _SPAN.finditer(text)]


def sentences(text: str) -> list[str]:
    """Split Chinese and English text into sentences that keep their closing punctuation.

    >>> sentences("体温37.5度。多喝水！Rest well. Call us?")
    ['体温37.5度。', '多喝水！', 'Rest well.', 'Call us?']
    """
    parts = (match.group().strip() for match in _SENTENCE.finditer(text))
    return [part for part in parts if _SOMETHING.search(part)]


def words(text: str) -> list[str]:
    """Cut text into lower-case words; Chinese runs through jieba.

    >>> words("我理解您的心情, thank you")
    ['我', '理解', '您', '的', '心情', 'thank', 'you']
    """
    found: list[str] = []
    for span, cjk in spans(text):
        found.extend(_segmenter()(span) if cjk else [span.lower()])
    return found


def _join(turn: Turn, wanted: Callable[[object], bool]) -> str:
    if isinstance(turn, str):
        return turn
    return "\n".join(_content(m.get("content")) for m in turn if wanted(m.get("role")))


def _content(content: object) -> str:
    """Read a message's content: text, nothing (a tool call), or a list of typed parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


@lru_cache(maxsize=1)
def _segmenter() -> Callable[[str], list[str]]:
    with warnings.catch_warnings():
        # jieba 0.42 has unescaped regular expressions and looks for pkg_resources on import.
        warnings.filterwarnings("ignore", category=SyntaxWarning)
        warnings.filterwarnings("ignore", message=".*(pkg_resources|invalid escape).*")
        import jieba
    jieba.setLogLevel(logging.WARNING)  # it reports its dictionary loading on stderr
    cut: Callable[[str], list[str]] = jieba.lcut
    return cut

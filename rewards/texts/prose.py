"""What of an answer is prose: code and addresses are no sentences, and their marks ask nothing."""

import re
from collections.abc import Mapping

from rewards.texts.text import CJK, Turn, prompt_text, spans

URL = re.compile(rf"https?://[^\s<>\"'）)】\]{CJK}，。；！？]{{1,2000}}", re.IGNORECASE)

_FENCED = re.compile(r"(?ms)^[ \t]*(```|~~~)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)")
_INLINE = re.compile(r"`[^`\n]{1,200}`")


def prose(text: str) -> str:
    """Return a text without its code and addresses.

    >>> prose("See https://a.b/c?d=1 or run `x?`:\\n```sh\\nwhat?\\n```\\nDone.").split()
    ['See', 'or', 'run', ':', 'Done.']
    """
    if "`" in text or "~~~" in text:
        text = _INLINE.sub(" ", _FENCED.sub("\n", text))
    return URL.sub(" ", text) if "://" in text else text


def last_user_text(prompt: Turn) -> str:
    """Return what the user said last, the whole of a prompt that is plain text.

    >>> last_user_text([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    'a'
    """
    if isinstance(prompt, str):
        return prompt
    said = [m for m in prompt if isinstance(m, Mapping) and m.get("role") == "user"]
    return prompt_text(said[-1:]) if said else prompt_text(prompt)


def chinese_share(text: str) -> float | None:
    """Return the share of Chinese among a text's words, two characters a word; None for no word.

    >>> chinese_share("你好 world"), chinese_share("...")
    (0.5, None)
    """
    chinese = other = 0.0
    for span, cjk in spans(text):
        if cjk:
            chinese += len(span) / 2
        elif not span.isdigit():
            other += 1
    return chinese / (chinese + other) if chinese + other else None

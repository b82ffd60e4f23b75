"""What detectors of numbers share: how digits are grouped, and what stands around them."""

import re

# Seven digits, the fewest that a number of a person has, with the breaks that people put in them.
LONG_NUMBER = re.compile(r"\d(?:[ ().-]{0,3}\d){6}")


def bare(number: str) -> str:
    """The number without its spaces and dashes."""
    return number.replace(" ", "").replace("-", "")


def groups(number: str) -> tuple[int, ...]:
    """How many digits stand together, from left to right."""
    return tuple(len(group) for group in re.findall(r"\d+", number))


def spelt_out(text: str, match: re.Match[str]) -> bool:
    """Whether the digits stand one by one, and the row of them ends where the match does."""
    start, end = match.span(1)
    alone = not re.search(r"\d[ -]$", text[max(0, start - 2) : start])
    return alone and not re.match(r"[ -]\d", text[end:][:2]) and set(groups(match[1])) == {1}


def in_decimal(text: str, match: re.Match[str]) -> bool:
    """Whether the digits are part of a fraction or an amount, like 0.4111 or ¥4111.50."""
    start, end = match.span(1)
    before = re.search(r"(?:\d\.|[$¥￥€£] ?)$", text[max(0, start - 2) : start])
    return bool(before or re.match(r"\.\d{1,4}(?!\d)", text[end : end + 6]))

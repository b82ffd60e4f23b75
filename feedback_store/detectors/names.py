"""Names of people where the text says that they are names: 我叫…, 姓名：…, …先生, "my name is …".

A name without such a word stays: it is as often a poet or a president as the person who writes.
"""

from collections.abc import Iterator

from feedback_store.detectors.chinese_names import chinese_names
from feedback_store.detectors.english_names import english_names


def names(text: str) -> Iterator[tuple[int, int]]:
    """Both, one after the other."""
    yield from chinese_names(text)
    yield from english_names(text)

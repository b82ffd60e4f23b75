"""Postal addresses down to a door: Chinese ones from region to room, English ones by street.

A city, a district or a street alone is nobody's home, and stays.
"""

from collections.abc import Iterator

from feedback_store.detectors.chinese_addresses import chinese_addresses
from feedback_store.detectors.english_addresses import english_addresses


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Both, one after the other."""
    yield from chinese_addresses(text)
    yield from english_addresses(text)

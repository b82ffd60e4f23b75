"""Small records that training tests learn from."""

from __future__ import annotations

from typing import Any

from rlhf.data.records import Record

WORDS = ["sun", "rain", "tea", "book", "river", "stone", "light", "road", "voice", "glass"]


def dialogue(n: int, **fields: Any) -> Record:
    """The n-th of many different small records."""
    prompt = ({"role": "user", "content": f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} {n}"},)
    fields = {"completion": f"{WORDS[(n + 3) % 10]} {n}.", **fields}
    return Record("sft", prompt, **fields)


def pair(n: int) -> Record:
    return Record(
        "preference",
        dialogue(n).prompt,
        chosen=f"{WORDS[n % 10]} and {WORDS[n % 7]}",
        rejected=f"no {WORDS[n % 5]} today, {n}",
    )


def vote(n: int) -> Record:
    return Record("unpaired", dialogue(n).prompt, completion=f"{WORDS[n % 9]}!", label=n % 3 > 0)

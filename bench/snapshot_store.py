"""A store of any size, quickly: the rows that its own writes would make, inserted in bulk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, update

from feedback_store import Store
from feedback_store.storage.database import Database
from feedback_store.storage.tables import comparisons, counter, feedback, interactions

_SIBLINGS = 3
"""So many interactions share a prompt."""
_VOTERS = 20_011
_REVISED = 0.03
"""So many of the thumbs are a second word; the first comes on top of the votes asked for."""
_BATCH = 3_000
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_WORDS = "my order parcel refund account teacher lesson doctor please when where could you the a"
_SIGNS = "我的订单包裹退款账户老师课程医生请问什么时候在哪里可以您好谢谢已经发出今天明天"
# Texts are cut from these.
_ENGLISH = " ".join(random.Random(1).choices(_WORDS.split(), k=20_000))
_CHINESE = "".join(random.Random(2).choices(_SIGNS, k=100_000))

Values = dict[str, Any]


def fill(path: Path, votes: int, answers: int) -> None:
    """Make a store with so many live votes on so many interactions, the same for the same counts.

    Seven votes in ten are thumbs, the others ratings, comparisons, corrections and comments; a
    prompt has 40 to 200 characters, an answer 100 to 400, Chinese or English.
    """
    Store.open(path).close()
    database = Database(path)
    draw = random.Random(0)
    seq = 0
    try:
        with database.write() as connection:
            asked = _interactions(draw, answers)
            done = 0
            while rows := list(islice(asked, _BATCH)):
                due = votes * (done + len(rows)) // answers - votes * done // answers
                said = list(_votes(draw, rows, due))
                seq = _insert(connection, interactions, rows, seq)
                for table in (feedback, comparisons):
                    seq = _insert(connection, table, [v for t, v in said if t is table], seq)
                done += len(rows)
            last = update(counter).where(counter.c.name == "rows").values(value=seq)
            connection.execute(last)
    finally:
        database.close()


def _insert(connection: Connection, table: Any, rows: list[Values], seq: int) -> int:
    for number, row in enumerate(rows, start=seq + 1):
        row["seq"] = number
        row["created_at"] = _BEGAN + timedelta(seconds=5 * number)
    if rows:
        connection.execute(insert(table), rows)
    return seq + len(rows)


def _id(draw: random.Random) -> str:
    return f"{draw.getrandbits(128):032x}"


def _text(draw: random.Random, low: int, high: int, chinese: bool) -> str:
    long = _CHINESE if chinese else _ENGLISH
    length = draw.randint(low, high) // (2 if chinese else 1)
    start = draw.randrange(len(long) - length)
    return long[start : start + length].strip()


def _interactions(draw: random.Random, count: int) -> Iterator[Values]:
    prompt, conversation, chinese = "", "", False
    style: str | None = None
    for number in range(count):
        if number % _SIBLINGS == 0:
            chinese = draw.random() < 0.5
            prompt, conversation = f"{_text(draw, 40, 200, chinese)} {number}", _id(draw)
            style = draw.choice((None, None, "brief", "formal"))
        yield {
            "id": _id(draw),
            "project": "default",
            "conversation": conversation,
            "turn": 0,
            "messages": [{"role": "user", "content": prompt}],
            "response": _text(draw, 100, 400, chinese),
            "finish_reason": "stop" if draw.random() < 0.95 else "length",
            "policy": f"policy-{number * 20 // count}",
            "style_used": style,
            "intent": draw.choice(("billing", "lesson", "health")),
            "sampling": {"temperature": 1.0},
            "solicited": False,
            "simulated": False,
            "consent": draw.random() < 0.98,
        }


def _votes(draw: random.Random, rows: list[Values], count: int) -> Iterator[tuple[Any, Values]]:
    flags = {"simulated": False, "solicited": False, "withdrawn": False, "revision": 1}
    for number in range(count):
        at, turn = number % len(rows), number // len(rows)
        on = rows[at]
        # No voter speaks twice of an answer: the number of voters is a prime.
        voter = f"voter-{(turn * 6_007 + at * 31) % _VOTERS}"
        said: Values = {"id": _id(draw), "voter": voter, **flags}
        kind = draw.random()
        if kind < 0.1:
            next_one = at // _SIBLINGS * _SIBLINGS + (at + 1) % _SIBLINGS
            sibling = rows[next_one if next_one < len(rows) else at - 1]
            yield comparisons, said | _choice(draw, on, sibling)
            continue
        said |= {"interaction": on["id"], "reasons": [], "text": None}
        if kind < 0.8:
            value = draw.choice((1.0, 1.0, -1.0))
            thumb = {"kind": "thumb", "metric": "thumb", "value": value}
            if draw.random() < _REVISED:
                yield feedback, said | thumb | {"id": _id(draw), "value": -value}
                said["revision"] = 2
            yield feedback, said | thumb
        elif kind < 0.92:
            value = float(draw.randint(1, 5))
            rating = {"kind": "rating", "metric": "rating", "value": value}
            yield feedback, said | rating
        else:
            name = "correction" if kind < 0.95 else "comment"
            text = _text(draw, 60, 300, chinese=not on["response"].isascii())
            yield feedback, said | {"kind": name, "metric": name, "value": None, "text": text}


def _choice(draw: random.Random, a: Values, b: Values) -> Values:
    low, high = sorted((a["id"], b["id"]))
    return {
        "project": "default",
        "a": a["id"],
        "b": b["id"],
        "low": low,
        "high": high,
        "choice": draw.choice(("a", "a", "b", "b", "tie", "both_bad")),
        "shown_first": draw.choice(("a", "b")),
        "reason": "arena",
    }

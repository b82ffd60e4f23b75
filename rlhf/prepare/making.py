"""One raw row made into what trains: recognised, cleaned, anonymised, and known by its hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from feedback_store import printable
from feedback_store.redact import PLACEHOLDER, redact
from feedback_store.split import is_held_out
from rlhf.chat import Message
from rlhf.data.cleaning import cleaner
from rlhf.data.columns import Layout
from rlhf.data.duplicates import Signatures, exact_key, signatures
from rlhf.data.language import language
from rlhf.data.reading import Chunk
from rlhf.data.records import Record, conversation_id, parse_record
from rlhf.data.strict_json import loads
from rlhf.errors import DataError, UnusableRow
from rlhf.prepare.settings import PrepareConfig

ANSWERS = ("completion", "chosen", "rejected")
KINDS = ("sft", "preference", "liked", "disliked")
_SHOWN = 20_000
_encode = json.JSONEncoder(ensure_ascii=False).encode

# What must be known of every row while all of them are looked at: 23 bytes.
ROW = np.dtype(
    [
        ("key", "<i8"),  # what it says, in all
        ("prompt", "<i8"),
        ("kind", "u1"),
        ("held", "?"),  # by its conversation
        ("pinned", "?"),  # by its source
        ("size", "<u4"),  # of its line in the spool
    ]
)


Signed = tuple[Signatures, Signatures]


@dataclass
class Made:
    """What came of a chunk; lines of JSON, one a row."""

    lines: bytes
    rows: npt.NDArray[Any]
    """Of dtype `ROW`."""
    signatures: Signed | None
    """Of prompts and of whole rows."""
    rejected: list[bytes]
    counts: Counter[str] = field(default_factory=Counter)
    """Rows read, cleaned and anonymised, and placeholders by kind."""


class Maker:
    """Makes rows by a configuration; each worker has its own."""

    def __init__(self, config: PrepareConfig) -> None:
        self._config = config
        self._clean: Callable[[str], str] = cleaner(config.clean) if config.clean else str
        self._label = lru_cache(10_000)(self._text)
        self._counts: Counter[str] = Counter()
        self._mapped = config.layout != Layout()

    def make(self, chunk: Chunk, pinned: bool) -> Made:
        """The chunk's rows in their order, and what is wrong with those that are none."""
        self._counts = Counter(rows=len(chunk.rows))
        lines, facts, asked, said, rejected = [], [], [], [], []
        for line, data, problem in chunk.rows:
            try:
                if problem:
                    raise DataError(problem)
                row = self._row(data, f"{chunk.source}:{line}")
            except DataError as error:
                rejected.append(_rejection(chunk.source, line, data, error))
                continue
            texts = _texts(row)
            asked.append(texts[0])
            said.append("\n".join(texts))
            row["language"] = language(said[-1])
            lines.append(encode(row))
            facts.append((*self._facts(row, texts, pinned), len(lines[-1])))
        signed = (signatures(asked), signatures(said)) if self._config.twins.near else None
        rows = np.array(facts, dtype=ROW)
        return Made(b"".join(lines), rows, signed, rejected, self._counts)

    def _row(self, data: bytes, where: str) -> dict[str, Any]:
        """The row as it will stand in the file; raises `DataError` where it is none."""
        raw = self._config.layout.row(loads(data)) if self._mapped else loads(data)
        record = parse_record(raw, "", encodable=not self._mapped)
        row: dict[str, Any] = {"prompt": self._prompt(record)}
        for name in ANSWERS:
            given = getattr(record, name)
            if given is not None:
                row[name] = self._answer(given, name)
        if record.shape == "preference" and row["chosen"] == row["rejected"]:
            raise UnusableRow("`chosen` and `rejected` are the same text after cleaning")
        for name in ("style", "intent"):
            if label := getattr(record, name):
                row[name] = self._label(label)
        row.update(self._about(raw, record))
        row["source"] = where
        return row

    def _prompt(self, record: Record) -> list[Message]:
        turns: list[Message] = []
        for turn in record.prompt:
            if text := self._text(turn["content"]):
                turns.append({"role": turn["role"], "content": text})
        if not turns or turns[-1]["role"] != "user":
            raise UnusableRow("the user's last turn is empty after cleaning")
        return turns

    def _answer(self, given: str, name: str) -> str:
        if text := self._text(given):
            return text
        raise UnusableRow(f"`{name}` is empty after cleaning")

    def _about(self, raw: Mapping[str, Any], record: Record) -> dict[str, Any]:
        """What else the stages, or the report, want to know of a row."""
        about: dict[str, Any] = {}
        if record.label is not None:
            about["label"] = record.label
        if record.weight != 1.0:
            about["weight"] = record.weight
        if record.margin:
            about["margin"] = record.margin
        if record.unfinished:
            about["unfinished"] = list(record.unfinished)
        for name in ("user", "conversation"):
            if raw.get(name) not in (None, ""):
                about[name] = self._pseudonym(raw[name], name)
        return about

    def _pseudonym(self, given: Any, name: str) -> str:
        """A user's or conversation's name, hashed: it may be a telephone number."""
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise DataError(f"`{name}` must be text or a whole number")
        key = self._config.user_key.encode()
        return hmac.new(key, str(given).encode(), hashlib.sha256).hexdigest()[:16]

    def _text(self, text: str) -> str:
        cleaned = self._clean(text)
        self._counts["cleaned"] += cleaned != text
        if not self._config.anonymise:
            return cleaned
        safe = redact(cleaned)
        if safe != cleaned:
            self._counts["anonymised"] += 1
            self._counts.update(PLACEHOLDER.findall(safe))
            self._counts.subtract(PLACEHOLDER.findall(cleaned))
        return safe

    def _facts(
        self, row: Mapping[str, Any], texts: Sequence[str], pinned: bool
    ) -> tuple[int, int, int, bool, bool]:
        kind = _kind(row)
        place = conversation_id(row.get("conversation"), row["prompt"])
        held = pinned or is_held_out(place, self._config.held_out)
        return exact_key(*texts) ^ kind, exact_key(texts[0]), kind, held, pinned


def encode(row: Mapping[str, Any]) -> bytes:
    """A row as its line."""
    return _encode(row).encode() + b"\n"


def _kind(row: Mapping[str, Any]) -> int:
    """Rows of different kinds are never each other's twins: two votes on one answer are two."""
    if "label" in row:
        return 2 if row["label"] else 3
    return int("chosen" in row)


def _texts(row: Mapping[str, Any]) -> list[str]:
    """What was asked, as one text, and the answers."""
    asked = "\n".join([turn["content"] for turn in row["prompt"]])
    return [asked, *(row[name] for name in ANSWERS if name in row)]


def _rejection(source: str, line: int, data: bytes, error: DataError) -> bytes:
    """A row as it came, but for what identifies a person, and why it is rejected."""
    shown = redact(_readable(data)[:_SHOWN])
    reason = redact(" ".join(str(error).removeprefix(": ").split()))[:300]
    kept = {"file": source, "line": line, "reason": printable(reason), "row": printable(shown)}
    return encode(kept)


def _readable(data: bytes) -> str:
    """The row without escapes, in which a name could hide; where it is no JSON, as it stands."""
    text = data[: 4 * _SHOWN].decode("utf-8", "replace")
    if len(data) > 4 * _SHOWN:
        return text
    try:
        spelled = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return spelled.encode("utf-8", "replace").decode()

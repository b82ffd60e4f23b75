"""One raw row made into what trains: recognised, cleaned, anonymised, and known by its hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from feedback_store import printable
from feedback_store.joined import Joined
from feedback_store.redact import redact
from feedback_store.split import is_held_out
from rlhf.chat import Message
from rlhf.data.cleaning import Cleaner
from rlhf.data.columns import Layout
from rlhf.data.duplicates import Signatures, signatures
from rlhf.data.exact_keys import exact_keys
from rlhf.data.language import languages
from rlhf.data.reading import Chunk
from rlhf.data.records import conversation_id, recognised
from rlhf.data.row_facts import Facts, row_facts
from rlhf.data.strict_json import loads
from rlhf.errors import DataError, UnusableRow
from rlhf.prepare.lines import encode, row_line
from rlhf.prepare.safe_texts import SafeTexts, Told, safe_text
from rlhf.prepare.settings import PrepareConfig

ANSWERS = ("completion", "chosen", "rejected")
KINDS = ("sft", "preference", "liked", "disliked")
_SHOWN = 20_000

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
    facts: Facts
    signatures: Signed | None
    """Of prompts and of whole rows."""
    rejected: list[bytes]
    counts: Counter[str] = field(default_factory=Counter)
    """Rows read, cleaned and anonymised, and placeholders by kind."""


class _Draft(NamedTuple):
    """A row that was recognised, before its texts are looked at."""

    raw: Mapping[str, Any]
    fields: Mapping[str, Any]
    """Of its `Record`."""
    texts: list[str]
    """Of its prompt's turns, then its answers."""


class Maker:
    """Makes rows by a configuration; each worker has its own."""

    def __init__(self, config: PrepareConfig) -> None:
        self._config = config
        self._clean = Cleaner(config.clean) if config.clean else None
        self._label = lru_cache(10_000)(self._safe_label)
        self._counts: Counter[str] = Counter()
        self._mapped = config.layout != Layout()

    def make(self, chunk: Chunk, pinned: bool) -> Made:
        """The chunk's rows in their order, and what is wrong with those that are none."""
        self._counts = Counter(rows=len(chunk.rows))
        drafts = [self._draft(data, problem) for _, data, problem in chunk.rows]
        given = [text for draft in drafts if isinstance(draft, _Draft) for text in draft.texts]
        texts = SafeTexts(given, self._clean, self._config.anonymise)
        rows, rejected = [], []
        at = 0
        for (line, data, _), draft in zip(chunk.rows, drafts, strict=True):
            try:
                if isinstance(draft, DataError):
                    raise draft
                at, first = at + len(draft.texts), at
                rows.append(self._row(draft, texts, first, f"{chunk.source}:{line}"))
            except DataError as error:
                rejected.append(_rejection(chunk.source, line, data, error))
        return self._made(rows, rejected, pinned)

    def _draft(self, data: bytes, problem: str) -> _Draft | DataError:
        if problem:
            return DataError(problem)
        try:
            raw = self._mapped_row(loads(data)) if self._mapped else loads(data)
            fields = recognised(raw, "", encodable=not self._mapped)
        except DataError as error:
            return error
        texts = [turn["content"] for turn in fields["prompt"]]
        texts += [fields[name] for name in ANSWERS if name in fields]
        return _Draft(raw, fields, texts)

    def _mapped_row(self, row: Any) -> Any:
        """Under our names, with the columns that are kept."""
        found = self._config.layout.row(row)
        if isinstance(row, dict):
            found |= {name: row[name] for name in self._config.keep if name in row}
        return found

    def _row(self, draft: _Draft, texts: SafeTexts, at: int, where: str) -> dict[str, Any]:
        """The row as it will stand in the file; raises `DataError` where it is none."""
        fields = draft.fields
        turns: list[Message] = []
        for turn in fields["prompt"]:
            if text := texts.take(at, self._counts):
                turns.append({"role": turn["role"], "content": text})
            at += 1
        if not turns or turns[-1]["role"] != "user":
            raise UnusableRow("the user's last turn is empty after cleaning")
        row: dict[str, Any] = {"prompt": turns}
        for name in ANSWERS:
            if name not in fields:
                continue
            row[name] = texts.take(at, self._counts)
            at += 1
            if not row[name]:
                raise UnusableRow(f"`{name}` is empty after cleaning")
        if "chosen" in row and row["chosen"] == row["rejected"]:
            raise UnusableRow("`chosen` and `rejected` are the same text after cleaning")
        for name in ("style", "intent"):
            if given := fields[name]:
                row[name], told = self._label(given)
                if told:
                    self._counts.update(told)
        row.update(self._about(draft.raw, fields))
        row["source"] = where
        return row

    def _about(self, raw: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """What else the stages, or the report, want to know of a row."""
        about: dict[str, Any] = {}
        if "label" in fields:
            about["label"] = fields["label"]
        if fields["weight"] != 1.0:
            about["weight"] = fields["weight"]
        if fields.get("margin"):
            about["margin"] = fields["margin"]
        if fields["unfinished"]:
            about["unfinished"] = list(fields["unfinished"])
        for name in ("user", "conversation"):
            if raw.get(name) not in (None, ""):
                about[name] = self._pseudonym(raw[name], name)
        for name in self._config.keep:
            if raw.get(name) is not None:
                about[name] = self._safe(raw[name])
        return about

    def _safe(self, value: Any) -> Any:
        """A value of any shape, its texts cleaned and anonymised."""
        if isinstance(value, str):
            text, told = self._safe_label(value)
            self._counts.update(told)
            return text
        if isinstance(value, list):
            return [self._safe(each) for each in value]
        if isinstance(value, dict):
            return {self._safe(key): self._safe(each) for key, each in value.items()}
        return value

    def _pseudonym(self, given: Any, name: str) -> str:
        """A user's or conversation's name, hashed: it may be a telephone number."""
        if isinstance(given, bool) or not isinstance(given, str | int):
            raise DataError(f"`{name}` must be text or a whole number")
        key = self._config.user_key.encode()
        return hmac.new(key, str(given).encode(), hashlib.sha256).hexdigest()[:16]

    def _safe_label(self, label: str) -> tuple[str, Told]:
        return safe_text(label, self._clean, self._config.anonymise)

    def _made(self, rows: list[dict[str, Any]], rejected: list[bytes], pinned: bool) -> Made:
        """The rows as lines, and what must be known of them."""
        texts = [_texts(row) for row in rows]
        counts = [len(some) for some in texts]
        joined = Joined([text for some in texts for text in some])
        for row, language in zip(rows, languages(joined, counts), strict=True):
            row["language"] = language
        lines = [row_line(row) for row in rows]
        facts = np.zeros(len(rows), ROW)
        facts["prompt"], facts["key"] = exact_keys(joined, counts)
        facts["kind"] = [_kind(row) for row in rows]
        facts["key"] ^= facts["kind"]
        facts["held"] = pinned or [self._is_held_out(row) for row in rows]
        facts["pinned"] = pinned
        facts["size"] = [len(line) for line in lines]
        signed = None
        if self._config.twins.near:
            said = ["\n".join(some) for some in texts]
            signed = signatures(some[0] for some in texts), signatures(said)
        told = row_facts(rows, self._config.seed)
        return Made(b"".join(lines), facts, told, signed, rejected, self._counts)

    def _is_held_out(self, row: Mapping[str, Any]) -> bool:
        place = conversation_id(row.get("conversation"), row["prompt"])
        return is_held_out(place, self._config.held_out)


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

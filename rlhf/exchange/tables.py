"""The export's Parquet tables: their columns, and rows written by the group, never all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 5_000

_TEXT = pa.string()
_FLAG = pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
_TURNS = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
_NAMES = pa.list_(_TEXT)

INTERACTIONS: Final = pa.schema(
    [
        ("id", _TEXT),
        ("project", _TEXT),
        ("conversation", _TEXT),
        ("turn", pa.int32()),
        ("prompt", _TURNS),
        ("response", _TEXT),
        ("finish_reason", _TEXT),
        ("blocked", _TEXT),
        ("policy", _TEXT),
        ("template_hash", _TEXT),
        ("style_asked", _TEXT),
        ("style_used", _TEXT),
        ("intent", _TEXT),
        ("sampling", _TEXT),  # JSON: each policy has settings of its own
        ("assignment_probability", pa.float64()),
        ("solicited", _FLAG),
        ("simulated", _FLAG),
        ("consent", _FLAG),
        ("user", _TEXT),
        ("latency_ms", pa.float64()),
        ("first_token_ms", pa.float64()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("created_at", _TIME),
        ("seq", pa.int64()),
    ]
)
FEEDBACK: Final = pa.schema(
    [
        ("id", _TEXT),
        ("interaction", _TEXT),
        ("voter", _TEXT),
        ("metric", _TEXT),
        ("kind", _TEXT),
        ("value", pa.float64()),
        ("text", _TEXT),
        ("reasons", _NAMES),
        ("simulated", _FLAG),
        ("solicited", _FLAG),
        ("revision", pa.int32()),
        ("created_at", _TIME),
        ("seq", pa.int64()),
    ]
)
COMPARISONS: Final = pa.schema(
    [
        ("id", _TEXT),
        ("project", _TEXT),
        ("a", _TEXT),
        ("b", _TEXT),
        ("voter", _TEXT),
        ("choice", _TEXT),
        ("shown_first", _TEXT),
        ("reason", _TEXT),
        ("simulated", _FLAG),
        ("solicited", _FLAG),
        ("revision", pa.int32()),
        ("created_at", _TIME),
        ("seq", pa.int64()),
    ]
)

_ABOUT = [("prompt", _TURNS), ("style", _TEXT), ("intent", _TEXT), ("conversation", _TEXT)]
_EVIDENCE = [("weight", pa.float64()), ("votes", _NAMES), ("policies", _NAMES)]
# What a snapshot's row holds beyond these columns is kept as JSON: an export loses no field.
_REST = [("unfinished", _NAMES), ("more", _TEXT)]
TRAINING: Final[dict[str, pa.Schema]] = {
    "sft": pa.schema([*_ABOUT, ("completion", _TURNS), *_EVIDENCE, *_REST]),
    "dpo": pa.schema([*_ABOUT, ("chosen", _TURNS), ("rejected", _TURNS), *_EVIDENCE, *_REST]),
    "kto": pa.schema([*_ABOUT, ("completion", _TURNS), ("label", _FLAG), *_EVIDENCE, *_REST]),
    "prompts": pa.schema([*_ABOUT, *_REST]),
}


class TableWriter:
    """One Parquet file, written as row groups."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._held: list[Mapping[str, Any]] = []
        self.rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row; it may wait in memory for others of its group."""
        self._held.append(row)
        self.rows += 1
        if len(self._held) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
            self._held = []


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> int:
    """A file of all the rows, and how many they were."""
    with TableWriter(path, schema) as table:
        for row in rows:
            table.add(row)
    return table.rows


def training_row(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A snapshot's row under the schema's columns."""
    known = {name: row[name] for name in schema.names if name in row}
    more = {name: value for name, value in row.items() if name not in known}
    text = json.dumps(more, ensure_ascii=False, sort_keys=True) if more else None
    return {"more": text, **known}

"""Rows of Parquet files and of the hub's data sets, as the JSON that other files bring."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlhf.data.scanner import Raw, too_long
from rlhf.errors import DataError, UsageError

_BATCH = 1_000


def parquet_rows(path: Path, limit: int) -> Iterator[Raw]:
    """The rows of a Parquet file; a row's line is its place in the file, from 1."""
    try:
        with pq.ParquetFile(path) as file:
            batches = (b.to_pylist() for b in file.iter_batches(batch_size=_BATCH))
            rows = (row for batch in batches for row in batch)
            for place, row in enumerate(rows, start=1):
                yield _raw(place, row, limit)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: is not a whole Parquet file ({why}); write it again") from error


def hub_rows(name: str, limit: int) -> Iterator[Raw]:
    """The rows of `<owner>/<name>[:<split>]` on the hub, streamed; `train` where none is named."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    repository, _, split = name.partition(":")
    try:
        rows = load_dataset(repository, split=split or "train", streaming=True)
        for place, row in enumerate(rows, start=1):
            yield _raw(place, dict(row), limit)
    except (DatasetsError, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"hub:{name}: cannot be read ({why}); check name and network") from error


def _raw(place: int, row: dict[str, Any], limit: int) -> Raw:
    # A table has every column in every row: what is empty there was never said.
    said = {name: value for name, value in row.items() if value is not None}
    try:
        data = json.dumps(said, ensure_ascii=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        return Raw(place, b"", f"holds what JSON cannot ({error})")
    return Raw(place, b"", too_long(limit)) if len(data) > limit else Raw(place, data)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"a column of {type(value).__name__}")

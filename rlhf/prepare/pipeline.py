"""The whole way from sources to a folder that the stages train on."""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlhf.data.coverage import Coverage
from rlhf.data.coverage_tables import tokenizer_of
from rlhf.data.labels import IntentClassifier, is_good_enough
from rlhf.data.reading import Chunk
from rlhf.errors import DataError
from rlhf.files import publish_folder
from rlhf.prepare.folder import Folder, finish, refuse_what_is_there
from rlhf.prepare.intents import fit
from rlhf.prepare.ledger import Fates, Ledger, Rows
from rlhf.prepare.pool import Pool, pool
from rlhf.prepare.settings import PrepareConfig
from rlhf.prepare.sources import Source, digests, run_id, sources
from rlhf.prepare.synthetic import add_synthetic, with_paths
from rlhf.prepare.tally import Rejections, texts_document, twins_document
from rlhf.prepare.work import Unlabelled, begin, fill_in, make

Advance = Callable[..., None]

# Less than this is read before a second process has begun.
_ALONE = 4 << 20
_BLOCK = 8_000  # rows that are written at once


def _quietly(*_: Any, **__: Any) -> None:
    pass


@dataclass(frozen=True)
class Prepared:
    """What came of it."""

    folder: Path
    report: dict[str, Any]

    @property
    def rejected_share(self) -> float:
        """Of all rows that were read."""
        rows: dict[str, int] = self.report["rows"]
        return rows["rejected"] / max(1, rows["read"])


def prepare(
    config: PrepareConfig, base: Path, out: Path | None = None, advance: Advance = _quietly
) -> Prepared:
    """Make `out`, whole or not at all; `base` is where the configuration's paths start from.

    Raises `DataError` where no row can be trained on.
    """
    found = sources(config, base)
    if out:
        refuse_what_is_there(out)
    name = config.name or Path(found[-1].given).stem or "rows"
    made = with_paths(config, base)
    with _pool(made, found) as workers:  # begins while the sources' digests are taken
        told = digests(config, found, base)
        out = out or config.runs / f"data-{name}-{run_id(config, told)}"
        refuse_what_is_there(out)
        advance(0, total=sum(source.size for source in found) or None)
        with _aside(out) as aside:
            report = _filled(made, found, aside, workers, advance)
            finish(aside, name, made, report, told)
            publish_folder(aside, out)
    return Prepared(out, report)


def _filled(
    config: PrepareConfig, found: list[Source], aside: Path, workers: Pool, advance: Advance
) -> dict[str, Any]:
    """The folder's rows, and the report on them."""
    with Folder(aside) as folder, Ledger(aside) as ledger:
        read = _read(config, found, ledger, folder, workers, advance)
        advance(0, note="twins")
        fates = ledger.fates(config.twins)
        advance(0, note="writing")
        classifier = fit(ledger, fates, config.labels)
        coverage = _write(config, ledger, fates, classifier, folder, workers)
        synthetic = add_synthetic(config, folder, coverage)
        report = _report(config, read, fates, coverage, classifier)
        report["rows"]["synthetic"] = synthetic
    return report


@contextmanager
def _aside(out: Path) -> Iterator[Path]:
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _pool(config: PrepareConfig, found: list[Source]) -> Any:
    small = all(s.files for s in found) and sum(s.size for s in found) < _ALONE
    alone = small and config.workers is None
    return pool(1 if alone else config.processes, begin, config)


@dataclass(frozen=True)
class _Read:
    """What the first pass found: each row by itself."""

    ledger: Ledger
    rejections: Rejections
    counts: Counter[str]


def _read(
    config: PrepareConfig,
    found: list[Source],
    ledger: Ledger,
    folder: Folder,
    workers: Pool,
    advance: Advance,
) -> _Read:
    read = _Read(ledger, Rejections(), Counter())
    for made in workers.map(make, _tasks(config, found, advance)):
        ledger.add(made)
        read.counts.update(made.counts)
        for line in made.rejected:
            read.rejections.add(line)
            folder.rejected.write(line)
    if not len(ledger.rows):
        why = next(iter(read.rejections.examples), "there are no rows")
        raise DataError(f"{found[-1].given}: nothing can be trained on; {why}")
    return read


def _tasks(
    config: PrepareConfig, found: list[Source], advance: Advance
) -> Iterator[tuple[Chunk, bool]]:
    before = 0
    for source in found:
        for chunk in source.chunks(config.max_row_bytes):
            yield chunk, source.pinned
            advance(completed=before + chunk.done)
        before += source.size


def _write(
    config: PrepareConfig,
    ledger: Ledger,
    fates: Fates,
    classifier: IntentClassifier | None,
    folder: Folder,
    workers: Pool,
) -> Coverage:
    """The second pass: each row where all of them say that it goes."""
    coverage = Coverage(config.seed)
    kept = fates.kept
    trains, held = kept & ~fates.held, kept & fates.held
    blocks = ledger.blocks(_BLOCK)
    if classifier is not None and is_good_enough(classifier, config.labels):
        blocks = workers.map(fill_in, (Unlabelled(rows, classifier) for rows in blocks))
    for rows in blocks:
        here = slice(rows.start, rows.start + len(rows.lines))
        for file, goes in ((folder.train, trains[here]), (folder.held_out, held[here])):
            file.write(b"".join([line + b"\n" for line in compress(rows.lines, goes.tolist())]))
        _cover(coverage, rows, np.flatnonzero(kept[here]))
    return coverage


def _cover(coverage: Coverage, rows: Rows, kept: npt.NDArray[np.intp]) -> None:
    @cache
    def row_at(at: int) -> Mapping[str, Any]:
        row: dict[str, Any] = json.loads(rows.lines[kept[at]])
        return row

    coverage.add_facts(rows.facts[kept], row_at)


def _report(
    config: PrepareConfig,
    read: _Read,
    fates: Fates,
    coverage: Coverage,
    classifier: IntentClassifier | None,
) -> dict[str, Any]:
    twins = twins_document(read.ledger, fates)
    texts = texts_document(read.counts)
    rejected = read.rejections.document()
    held = int((fates.held & fates.kept).sum())
    gone = {"exact": twins["exact"], "near": twins["near"], "leaked": twins["leaked_prompts"]}
    return {
        "rows": {
            "read": read.counts["rows"],
            "rejected": rejected["count"],
            "twins": sum(gone.values()),
            "train": int(fates.kept.sum()) - held,
            "held_out": held,
        },
        "rejected": rejected,
        "texts": texts,
        "twins": twins,
        "coverage": coverage.document(
            config.thresholds,
            duplicates=gone,
            redaction=texts["identifiers"],
            rejected=rejected["reasons"],
            classifier=classifier.document() if classifier else None,
            tokenizer=tokenizer_of(config.base_model) if config.base_model else None,
        ),
    }

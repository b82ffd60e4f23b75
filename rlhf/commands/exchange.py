"""`rlhf votes import` and `rlhf votes export`: other tools' votes in, a data set out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlhf.commands.release import DEFAULT_STORE, AsJson, StoreAt

if TYPE_CHECKING:
    from feedback_store import Store
    from rlhf.exchange.entry import Origin
    from rlhf.exchange.importing import Refusal, Summary


def import_(
    file: Annotated[Path, typer.Argument(help="What another tool exported.", dir_okay=False)],
    format: Annotated[
        str,
        typer.Option("--format", help="dialogue, trl, openai, open-webui, langfuse or mapping."),
    ],
    store: StoreAt = DEFAULT_STORE,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML that names columns or scores; see docs/exchange.md.")
    ] = None,
    project: Annotated[str, typer.Option("--project", help="Into which project.")] = "default",
    voter: Annotated[
        str, typer.Option(help="Whose votes they are where a row doesn't say.")
    ] = "import",
    liked: Annotated[
        bool, typer.Option("--liked", help="Count an answer without a vote as up-voted.")
    ] = False,
    consent: Annotated[
        bool, typer.Option(help="Whether rows that don't say may be trained on.")
    ] = True,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="The votes are a program's, not people's.")
    ] = False,
    max_rejected: Annotated[
        int, typer.Option(min=0, help="Exit 1 where more rows than this are refused.")
    ] = 0,
    max_row_bytes: Annotated[
        int, typer.Option(min=1_000, max=1 << 30, help="Longer rows are refused.")
    ] = 16 << 20,
    rejected: Annotated[
        Path | None, typer.Option(help="Where refused rows go; by itself FILE.rejected.jsonl.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take in what another tool collected; run it again to go on, what is in is passed over.

    Example: `rlhf votes import feedback-history-export.json --format open-webui`
    """
    from feedback_store import Store
    from rlhf.exchange.importing import Import
    from rlhf.progress import progress

    origin = _origin(format, mapping, project, voter, liked, consent, simulated)
    if not file.is_file():
        from rlhf.errors import UsageError

        raise UsageError(f"{file}: no such file; check the path")
    with Store.open(store) as opened, progress("reading bytes", file.stat().st_size) as advance:
        summary = Import(
            opened,
            file,
            origin,
            tell=_tell,
            advance=lambda position: advance(completed=position),
            max_row_bytes=max_row_bytes,
            rejected=rejected,
        ).run()
    typer.echo(json.dumps(summary.document(), ensure_ascii=False) if as_json else _line(summary))
    _judge(summary, max_rejected)


def _origin(
    format: str,
    mapping: Path | None,
    project: str,
    voter: str,
    liked: bool,
    consent: bool,
    simulated: bool,
) -> Origin:
    from rlhf.errors import UsageError
    from rlhf.exchange.entry import Origin
    from rlhf.exchange.formats import FORMATS
    from rlhf.exchange.mapping import Mapping, load_mapping

    if format not in FORMATS:
        raise UsageError(f"--format {format}: unknown; known are {', '.join(FORMATS)}")
    if format == "mapping" and mapping is None:
        raise UsageError("--format mapping: name the mapping file with --mapping")
    if mapping is not None and format not in ("mapping", "langfuse"):
        raise UsageError(f"--mapping: {format} has columns of its own; use --format mapping")
    return Origin(
        format=format,
        project=project,
        voter=voter,
        liked=liked,
        consent=consent,
        simulated=simulated,
        mapping=Mapping() if mapping is None else load_mapping(mapping),
    )


def _tell(refusal: Refusal) -> None:
    from rlhf.progress import console

    console.print(f"{refusal.where}: {refusal.reason}", markup=False, soft_wrap=True)


def _line(summary: Summary) -> str:
    made = ", ".join(
        (
            _counted(summary.interactions, "interaction"),
            _counted(summary.feedback, "vote"),
            _counted(summary.comparisons, "comparison"),
        )
    )
    line = (
        f"{summary.file}: {summary.imported} of {_counted(summary.rows, 'row')} imported ({made}), "
        f"{summary.already_in} {_agree(summary.already_in, 'was', 'were')} in already, "
        f"{summary.refused} refused"
    )
    if summary.byte_order_mark:
        line += "; the file begins with a byte order mark (UTF-8 with BOM), which was passed over"
    if summary.without_vote:
        holds = _agree(summary.without_vote, "holds", "hold")
        prompts = _agree(summary.without_vote, "its prompt trains", "their prompts train")
        line += f"; {summary.without_vote} {holds} no vote, so only {prompts} (--liked)"
    return line


def _counted(count: int, noun: str) -> str:
    return f"{count} {_agree(count, noun, noun + 's')}"


def _agree(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _judge(summary: Summary, max_rejected: int) -> None:
    from rlhf.errors import DataError

    if summary.rows == 0:
        raise DataError(f"{summary.file}: holds no rows")
    if summary.refused > max_rejected:
        raise DataError(
            f"{summary.file}: {_counted(summary.refused, 'row')} refused, more than --max-rejected "
            f"{max_rejected}; see {summary.rejected_file}; the others are in"
        )


def export(
    folder: Annotated[Path, typer.Argument(help="Where the data set goes; made here.")],
    store: StoreAt = DEFAULT_STORE,
    project: Annotated[str, typer.Option("--project", help="Whose votes.")] = "default",
    snapshot: Annotated[
        str | None,
        typer.Option(help="Whose rows the training tables are: an id; by itself, one of now."),
    ] = None,
    snapshots: Annotated[Path, typer.Option(help="Where snapshots go.")] = Path("runs/snapshots"),
    without_consent: Annotated[
        bool, typer.Option("--without-consent", help="Also what may not be trained on.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the export that lies there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the store as a data set that `datasets.load_dataset(FOLDER)` reads, with a card.

    Example: `rlhf votes export exports/clinic --project clinic`
    """
    from rlhf.commands.show import existing_store
    from rlhf.exchange.exporting import ExportOptions
    from rlhf.exchange.exporting import export as write
    from rlhf.progress import progress

    with existing_store(store) as opened:
        id, path = _snapshot(opened, project, snapshot, snapshots)
        options = ExportOptions(project, without_consent, path, id, replace)
        with progress("rows written", None) as advance:
            manifest = write(opened, folder, options, advance)
    if as_json:
        typer.echo(json.dumps(manifest, ensure_ascii=False))
        return
    tables = ", ".join(f"{sum(splits.values())} {n}" for n, splits in manifest["tables"].items())
    typer.echo(f"{folder}: {tables or 'no rows'}; fill in the licence in its README.md")


def _snapshot(
    store: Store, project: str, named: str | None, folder: Path
) -> tuple[str | None, Path | None]:
    """The snapshot's id and folder, checked; none where no vote can be trained on."""
    from feedback_store import EmptySnapshot, SnapshotRules, build_snapshot, load_snapshot
    from rlhf.config import validate
    from rlhf.errors import UsageError

    if named is not None:
        found = store.snapshot(named)
        if found.project != project:
            raise UsageError(f"snapshot {named} is of project {found.project}, not {project}")
        return load_snapshot(Path(found.path)).id, Path(found.path)
    rules = validate(SnapshotRules, {"project": project}, "votes export")
    try:
        built = build_snapshot(store, folder, rules)
    except EmptySnapshot:
        return None, None
    return built.id, folder / built.id

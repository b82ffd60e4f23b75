"""`rlhf rewards score|compare|fit`: what rewards are worth, by dialogues and by votes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlhf.commands.release import AsJson

if TYPE_CHECKING:
    from rlhf.lab.accuracy import Agreement
    from rlhf.lab.comparison import Comparison
    from rlhf.lab.fitted_mix import Contest
    from rlhf.lab.fitting import Fitted
    from rlhf.lab.mix import Mix
    from rlhf.lab.score import Spread
    from rlhf.lab.votes import Votes

Mixes = Annotated[
    list[Path] | None,
    typer.Argument(
        help="YAML files with `rewards:`; every built-in reward when left out.", metavar="[MIX]"
    ),
]
VotesAt = Annotated[
    str, typer.Option("--votes", help="A store, a snapshot, a prepared folder or a file.")
]
Unseen = Annotated[
    float | None,
    typer.Option(
        min=0, max=0.99, help="Use only what training with this `data.held_out` kept aside."
    ),
]
Project = Annotated[str, typer.Option("--project", help="Whose votes, of a store.")]


class Keep(StrEnum):
    """Which components a fitted mix is made of."""

    sure = "sure"
    useful = "useful"


def score(
    data: Annotated[
        Path, typer.Argument(help="Dialogues: a file, a snapshot or a prepared folder.")
    ],
    rewards: Annotated[
        Path | None,
        typer.Option(help="A YAML file with `rewards:`; every built-in reward when left out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="A Parquet file for every score, a row an answer.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score the answers of any dialogues: how each reward spreads over them.

    Example: `rlhf rewards score data.jsonl --rewards mix.yaml --out scores.parquet`
    """
    from dataclasses import asdict

    from rlhf.lab.mix import Mix, defaults, read_mix
    from rlhf.lab.score import score as run
    from rlhf.lab.votes import read_dialogues

    mix = Mix(rewards=defaults()) if rewards is None else read_mix(rewards)
    spreads = run(read_dialogues(data), mix, out)
    if rewards is None:  # weights that nobody chose make no total
        spreads = spreads[:-1]
    if as_json:
        typer.echo(json.dumps([asdict(s) for s in spreads], ensure_ascii=False, allow_nan=False))
        return
    _print_spreads(spreads)
    if out is not None:
        typer.echo(f"scores: {out}")


def compare(
    votes: VotesAt,
    mixes: Mixes = None,
    html: Annotated[Path, typer.Option(help="Where the page is written.")] = Path("rewards.html"),
    unseen: Unseen = None,
    project: Project = "default",
    as_json: AsJson = False,
) -> None:
    """Hold rewards and mixes against what users voted: a page, and figures.

    Example: `rlhf rewards compare --votes runs/feedback.db mix.yaml --html rewards.html`
    """
    from rlhf.lab.comparison import compare as hold
    from rlhf.lab.comparison import document
    from rlhf.lab.mix import pooled
    from rlhf.lab.page import write_page
    from rlhf.lab.unlearned import hindsight

    named = _named(mixes or ())
    told = _votes(votes, 0.0, unseen, project)
    records = [*told.seen, *told.held_out]
    notes = [] if unseen else list(hindsight(pooled(named.values()), votes, records))
    found = hold(records, named, notes)
    write_page(html, found, votes.rstrip("/").rpartition("/")[2])
    if as_json:
        figures = {"page": str(html), **document(found)}
        typer.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    _print_comparison(found)
    typer.echo(f"page: {html}")


def fit(
    votes: VotesAt,
    mixes: Mixes = None,
    out: Annotated[Path, typer.Option(help="Where the mix is written.")] = Path("fitted.yaml"),
    held_out: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Share of conversations to test on; a snapshot brings its own."
        ),
    ] = 0.2,
    keep: Annotated[
        Keep,
        typer.Option(
            help="sure: what surely differs from zero; useful: all that lowers the held-out loss."
        ),
    ] = Keep.sure,
    curves: Annotated[
        bool, typer.Option("--curves", help="Learn monotone curves where lines do not do.")
    ] = False,
    unseen: Unseen = None,
    seed: Annotated[int, typer.Option(help="Deals the folds and draws the intervals.")] = 0,
    project: Project = "default",
    as_json: AsJson = False,
) -> None:
    """Learn the weights of a mix from votes; components that add nothing are left out.

    Example: `rlhf rewards fit --votes runs/feedback.db mix.yaml --out fitted.yaml`
    """
    from rlhf.lab.fitted_mix import document, write_mix
    from rlhf.lab.learning import learn
    from rlhf.lab.mix import pooled
    from rlhf.lab.unlearned import hindsight

    components = pooled(_named(mixes or ()).values())
    told = _votes(votes, held_out, unseen, project)
    notes = [] if unseen else list(hindsight(components, votes, told.seen))
    learned = learn(told, components, keep=keep.value, curves=curves, seed=seed)
    write_mix(out, learned.components, learned.labels, learned.fitted, votes)
    if as_json:
        figures = {"out": str(out), "notes": notes}
        figures |= document(learned.fitted, learned.held_out)
        typer.echo(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    _print_fitted(learned.fitted, learned.held_out)
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"mix: {out}")


def _named(paths: Sequence[Path]) -> dict[str, Mix]:
    """Mixes by their files' names; the built-in rewards are compared, not mixed."""
    from rlhf.lab.mix import Mix, defaults, read_mix

    names = [
        path.stem if [p.stem for p in paths].count(path.stem) == 1 else str(path) for path in paths
    ]
    found = {name: read_mix(path) for name, path in zip(names, paths, strict=True)}
    return found or {c.name: Mix(rewards=(c,)) for c in defaults()}


def _votes(where: str, held_out: float, unseen: float | None, project: str) -> Votes:
    from rlhf.errors import DataError
    from rlhf.lab import votes as reading

    if unseen is None:
        votes = reading.read_votes(where, held_out, project)
    else:
        votes = reading.unseen(where, unseen, held_out, project)
    if not votes.seen and not (held_out == 0 and votes.held_out):
        raise DataError(f"{where}: no votes are left; take other shares for --held-out or --unseen")
    return votes


def _print_spreads(spreads: Sequence[Spread]) -> None:
    from rich.console import Console
    from rich.table import Table

    from rlhf.evaluation.compare import number
    from rlhf.lab.score import QUANTILES

    middle = len(QUANTILES) // 2
    told = " · ".join(f"{QUANTILES[at]:.0%}" for at in (0, middle, -1))
    table = Table("reward", "applies", "failed", "mean ± deviation", told)
    for spread in spreads:
        figures = ("", "")
        if spread.mean is not None and spread.deviation is not None and spread.quantiles:
            shown = (spread.quantiles[at] for at in (0, middle, -1))
            mean = f"{number(spread.mean)} ± {number(spread.deviation)}"
            figures = (mean, " · ".join(map(number, shown)))
        table.add_row(spread.name, f"{spread.applies:.0%}", f"{spread.invalid:.0%}", *figures)
    Console().print(table)


def _print_comparison(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("reward", "pairs", "AUC", "applies", "failed")
    for subject in found.subjects:
        name = f"{subject.name} (mix)" if subject.kind == "mix" else subject.name
        agreements = (_short(subject.pairs), _short(subject.thumbs))
        table.add_row(name, *agreements, f"{subject.applies:.0%}", f"{subject.invalid:.0%}")
    Console().print(table)
    typer.echo(f"{found.pairs} pairs and {found.thumbs} single votes")
    for note in found.notes:
        typer.echo(f"note: {note}")


def _short(told: Agreement | None) -> str:
    return f"{told.rate:.3f} [{told.low:.3f}, {told.high:.3f}]" if told else ""


def _print_fitted(fitted: Fitted, held: Sequence[Contest]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "weight", "95 % interval", "")
    for w in fitted.weights:
        figures = ("0", "") if w.why else (f"{w.weight:.3f}", f"{w.low:.3f} to {w.high:.3f}")
        table.add_row(w.label, *figures, w.why or "")
    Console().print(table)
    typer.echo(
        f"{fitted.votes} votes, of which {fitted.noise:.1%} contradict their voters; "
        f"log loss of unseen ones {fitted.loss:.4f}, by chance {fitted.chance:.4f}"
    )
    if fitted.failed:
        typer.echo(f"note: {fitted.failed} votes left out, as a component failed on their answers")
    for contest in held:
        typer.echo(_told(contest))


def _told(contest: Contest) -> str:
    mix, single, apart = contest.mix, contest.single, contest.difference
    return (
        f"held-out {contest.measure}: {mix.rate:.3f} [{mix.low:.3f}, {mix.high:.3f}] of {mix.n}; "
        f"the best single one, {contest.best}, "
        f"{single.rate:.3f} [{single.low:.3f}, {single.high:.3f}]; difference "
        f"{apart['mean']:+.3f} [{apart['low']:+.3f}, {apart['high']:+.3f}], p = {apart['p']:.3g}"
    )

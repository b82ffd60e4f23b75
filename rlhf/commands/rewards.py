"""`rlhf rewards score|compare|fit`: what rewards are worth, by dialogues and by votes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlhf.commands.release import AsJson

if TYPE_CHECKING:
    from rlhf.lab.fitted_mix import Contest
    from rlhf.lab.fitting import Fitted
    from rlhf.lab.mix import Mix
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
Project = Annotated[str, typer.Option("--project", help="Whose votes, of a store.")]


def fit(
    votes: VotesAt,
    mixes: Mixes = None,
    out: Annotated[Path, typer.Option(help="Where the mix is written.")] = Path("fitted.yaml"),
    held_out: Annotated[
        float, typer.Option(help="Share of conversations to test on; a snapshot brings its own.")
    ] = 0.2,
    unseen: Annotated[
        float | None,
        typer.Option(help="Use only what training with this `data.held_out` kept aside."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Deals the folds and draws the intervals.")] = 0,
    project: Project = "default",
    as_json: AsJson = False,
) -> None:
    """Learn the weights of a mix from votes; components that add nothing are left out.

    Example: `rlhf rewards fit --votes runs/feedback.db mix.yaml --out fitted.yaml`
    """
    from rlhf.lab.fitted_mix import contests, document, write_mix
    from rlhf.lab.fitting import fit as learn
    from rlhf.lab.mix import pooled, scored

    components = pooled(_mixes(mixes or ()))
    told = _votes(votes, held_out, unseen, project)
    scores = scored(told.seen, components)
    fitted = learn(told.seen, scores, seed)
    held = contests(fitted, told.held_out, scored(told.held_out, components))
    write_mix(out, components, scores.labels, fitted, votes)
    if as_json:
        told_json = {"out": str(out), **document(fitted, held)}
        typer.echo(json.dumps(told_json, ensure_ascii=False, allow_nan=False))
        return
    _print_fitted(fitted, held)
    typer.echo(f"mix: {out}")


def _mixes(paths: Sequence[Path]) -> list[Mix]:
    from rlhf.lab.mix import Mix, defaults, read_mix

    return [read_mix(path) for path in paths] or [Mix(rewards=defaults())]


def _votes(where: str, held_out: float, unseen: float | None, project: str) -> Votes:
    from rlhf.errors import DataError, UsageError
    from rlhf.lab.votes import read_votes
    from rlhf.lab.votes import unseen as only_unseen

    for name, share in (("--held-out", held_out), ("--unseen", unseen)):
        if share is not None and not 0 <= share < 1:
            raise UsageError(f"{name} is a share of conversations from 0 to 1, found {share}")
    votes = read_votes(where, held_out, project)
    if unseen is not None:
        votes = only_unseen(votes, unseen)
    if not votes.seen:
        raise DataError(f"{where}: all votes are held out; take a smaller --held-out")
    return votes


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

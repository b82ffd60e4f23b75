"""The command that makes a tainted policy again, from data without the erased person."""

from __future__ import annotations

import shlex
from pathlib import Path

from feedback_store import Store
from rlhf.lineage.ledger import Ledger
from rlhf.lineage.made import Made

# What replays a run's settings and brings its own: they name no snapshot and no policy.
_TRAINED_ALONE = "train"


def rebuild_command(ledger: Ledger, store: Store, runs: Path, made: Made) -> str:
    """A line for the shell.

    A loop's policies are all made again by one cycle from the base model (`start=rebuild`). A
    policy of `rlhf train` is trained by its own settings on the snapshot that was built in place
    of the erased one; a tainted parent is to be rebuilt first, and until then its new id stands as
    `REBUILT-<old id>`.
    """
    run = ledger.runs.get(made.run or "")
    if run is None:
        return (
            f"its run folder {made.run or '(none)'} is gone: train it again from its configuration"
        )
    loop = run.facts.get("loop")
    if not isinstance(loop, str) or loop == _TRAINED_ALONE:
        return _shell("train", run.folder / "config.yaml", _train(ledger, store, runs, made), None)
    owners = [r for r in ledger.runs.values() if r.stage == "loop" and r.facts.get("loop") == loop]
    if not owners:
        return f"rlhf loop CONFIG start=rebuild name={shlex.quote(loop + '-rebuilt')}"
    owner = owners[-1]
    taints = ledger.taints.get(made.id, [])
    name = f"{loop}-without-{taints[-1].erasure[:8]}" if taints else f"{loop}-rebuilt"
    given = {"start": "rebuild", "name": name, "runs": str(runs.resolve()), "store": _where(store)}
    if owner.config().get("webhook") is not None:
        given["webhook"] = "null"  # its address is masked in what was kept
    base = owner.facts.get("base")
    return _shell("loop", owner.folder / "config.yaml", given, base if base else None)


def _train(ledger: Ledger, store: Store, runs: Path, made: Made) -> dict[str, str]:
    given = {"data.path": _data(ledger, made), "runs": str(runs.resolve()), "store": _where(store)}
    if made.parent is not None:
        tainted = made.parent in ledger.taints
        given["policy"] = f"REBUILT-{made.parent}" if tainted else made.parent
    return given


def _data(ledger: Ledger, made: Made) -> str:
    """The snapshot's folder, or the one that replaced it; a file is named by who has it."""
    if made.snapshot is None:
        return "FILE-WITHOUT-THE-PERSON"
    id = made.snapshot
    while (erased := ledger.erased.get(id)) is not None:
        if erased.replaced_by is None:
            return "A-SNAPSHOT-WITH-ROWS"  # nothing was left to train on
        id = erased.replaced_by
    return str(Path(ledger.snapshots[id].path).resolve())


def _where(store: Store) -> str:
    """A database's URL has a password: it is left to the environment."""
    name = store.name
    return "$RLHF_STORE" if "://" in name else name


def _shell(command: str, config: Path, given: dict[str, str], base: str | None) -> str:
    words = [
        f'{key}="{value}"' if value.startswith("$") else shlex.quote(f"{key}={value}")
        for key, value in given.items()
    ]
    line = f"rlhf {command} {shlex.quote(str(config.resolve()))} {' '.join(words)}"
    return f"cd {shlex.quote(base)} && {line}" if base else line

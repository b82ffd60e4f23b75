"""An id, or the beginning of one, to what it names."""

from __future__ import annotations

from feedback_store import NotFound, Store
from rlhf.errors import UsageError
from rlhf.lineage.ledger import Ledger

Named = tuple[str, str]


def named(store: Store, ledger: Ledger, given: str) -> Named:
    """Kind and whole id; raises `UsageError` where nothing, or more than one thing, begins so."""
    near = candidates(store, ledger, given)
    if not near:
        raise UsageError(
            f"{given}: no interaction, vote, snapshot, run, policy, gate decision or release of "
            "that id; `rlhf lineage` shows the champion's"
        )
    if len(near) > 1:
        told = ", ".join(f"{kind} {id}" for kind, id in near[:4])
        raise UsageError(f"{given}: begins more than one id ({told}); give more of it")
    return near[0]


def candidates(store: Store, ledger: Ledger, given: str) -> list[Named]:
    """What an id names, or what its beginning may name: a few of those.

    A number is a release first. A run may be named by its folder or by the hash in its name.
    """
    text = given.rstrip("/").rpartition("/")[2]
    if text.isdecimal() and int(text[:18]) in ledger.releases:
        return [("release", str(int(text[:18])))]
    if (whole := _whole(store, ledger, text)) is not None:
        return [whole]
    return _registered(ledger, text) + list(store.beginning(text) if text else ())


def _whole(store: Store, ledger: Ledger, text: str) -> Named | None:
    for kind, ids in _registers(ledger).items():
        if text in ids:
            return kind, text
    if store.has_interaction(text):
        return "interaction", text
    try:
        return type(store.vote(text)).__name__.lower(), text
    except NotFound:
        return None


def _registered(ledger: Ledger, text: str) -> list[Named]:
    found = [
        (kind, id)
        for kind, ids in _registers(ledger).items()
        for id in ids
        if id.startswith(text) or (kind == "run" and id.endswith(f"-{text}"))
    ]
    return found if text else []


def _registers(ledger: Ledger) -> dict[str, list[str]]:
    return {
        "policy": list(ledger.made),
        "snapshot": list(ledger.snapshots),
        "decision": list(ledger.decisions),
        "run": list(ledger.runs),
    }

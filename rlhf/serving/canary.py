"""Which policy is the canary, and whether it has been sent back.

A canary named by its id gets its share even where the gate refused it: somebody chose it. `latest`
is the newest policy that was never released in the project, that the last decision on it did not
refuse, and that descends from the champion or passed the project's gate. Either way a canary that
the guard sent back stays away until a newer decision on it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from feedback_store import Decision, Policy, Store

GUARD = "guard: "
"""How the reasons of the guard's decisions begin."""


class Canary(NamedTuple):
    """A policy's id, and why it gets no traffic (None: it gets its share)."""

    id: str
    sent_back: str | None


def chosen(store: Store, name: str | None, project: str) -> Canary | None:
    """The canary that `traffic.canary` names; None where there is none."""
    if name is None:
        return None
    record = store.champion(project)
    champion = None if record is None else record.id
    verdicts = store.last_decisions(project)
    latest = name == "latest"
    id = _latest(store, verdicts, champion, project) if latest else whole(store, name)
    if id is None or id == champion:
        return None
    return Canary(id, _sent_back(verdicts.get(id)))


def send_back(
    store: Store, project: str, canary: str, champion: str | None, why: str, report: dict[str, Any]
) -> None:
    """Put the guard's decision into the store; a no-op where another server already did."""
    last = store.last_decisions(project).get(canary)
    if _sent_back(last) is not None:
        return
    store.add_decision(
        Decision(
            project=project,
            candidate=canary,
            champion=champion,
            promote=False,
            reasons=(GUARD + why,),
            report=report,
        )
    )


def whole(store: Store, start: str) -> str:
    """The id that begins so, where one does; else as given, and loading it tells what is wrong."""
    near = [record.id for record in store.policies() if record.id.startswith(start)]
    return near[0] if len(near) == 1 else start


def _sent_back(last: Decision | None) -> str | None:
    if last is None or last.promote:
        return None
    return next((r for r in last.reasons if r.startswith(GUARD)), None)


def _latest(
    store: Store, verdicts: Mapping[str, Decision], champion: str | None, project: str
) -> str | None:
    records = store.policies()
    parents = {record.id: record.parent for record in records}
    released = {release.policy for release in store.releases(project)}
    for record in reversed(records):
        last = verdicts.get(record.id)
        if record.id in released or _refused(record, last):
            continue
        if last is not None or champion in set(_ancestors(record.id, parents)):
            return record.id
    return None


def _refused(record: Policy, last: Decision | None) -> bool:
    """A base model is nobody's candidate; what the guard refused is still named, to be told of."""
    return record.kind == "base" or (
        last is not None and not last.promote and _sent_back(last) is None
    )


def _ancestors(id: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    seen = {id}
    while (parent := parents.get(id)) is not None and parent not in seen:
        seen.add(parent)
        yield parent
        id = parent

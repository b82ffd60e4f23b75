"""Who meets whom, from a loop's configuration and ids on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from feedback_store import Store
from rlhf.commands.show import existing_store
from rlhf.config import load, validate
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record, read_all, split
from rlhf.errors import UsageError
from rlhf.evaluation.trial import Contest
from rlhf.lineage import ancestry
from rlhf.policies import Policy, base_policy
from rlhf.release import champion, find
from rlhf.training.rows import held_out_votes


@contextmanager
def contest_of(
    config: Path, overrides: Sequence[str], candidate: str | None, against: str | None
) -> Iterator[tuple[LoopConfig, Contest]]:
    """The loop's settings and the contest, with the store open while it lasts."""
    settings = validate(LoopConfig, load(config, overrides), str(config))
    base = config.resolve().parent
    records = read_all(settings.dialogue_paths(base))
    with existing_store(settings.store) as store:
        rival = _against(store, settings, against)
        contender = _candidate(store, settings, candidate, against)
        yield (
            settings,
            Contest(
                model=settings.model_settings(),
                candidate=contender,
                champion=rival,
                reference=rival,
                records=tuple(split(records, settings.held_out)[1]),
                base=base,
                store=store,
                project=settings.project,
                votes=_held_out_votes(settings, contender),
                watermark=_watermark(store, contender),
            ),
        )


def _candidate(
    store: Store, settings: LoopConfig, given: str | None, against: str | None
) -> Policy:
    if given is not None:
        return find(store, given)
    if against == "champion":
        policies = store.policies()
        if not policies:
            raise UsageError(f"{settings.store}: holds no policy yet; train one")
        return find(store, policies[-1].id)
    return _champion(store, settings)


def _against(store: Store, settings: LoopConfig, given: str | None) -> Policy:
    if given == "base":
        return base_policy(settings.base_model)
    if given == "champion":
        return _champion(store, settings)
    if given is not None:
        return find(store, given)
    line = ancestry(store, str(_champion(store, settings).id))
    return find(store, line[-1].id)


def _champion(store: Store, settings: LoopConfig) -> Policy:
    current = champion(store, settings.project)
    if current is None:
        raise UsageError(
            f"{settings.store}: project {settings.project} has no champion yet; run `rlhf loop`"
        )
    return current


def _held_out_votes(settings: LoopConfig, policy: Policy) -> tuple[Record, ...]:
    """Held-out votes of the snapshot that trained the policy; none where it is gone."""
    snapshot = policy.manifest.get("snapshot")
    if settings.gate.agreement is None or snapshot is None:
        return ()
    folder = settings.runs / "snapshots" / str(snapshot)
    return tuple(held_out_votes(folder, settings.stages))


def _watermark(store: Store, policy: Policy) -> int:
    """Votes up to here may have trained the policy."""
    name = policy.manifest.get("snapshot")
    known = {s.id: s.watermark for s in store.snapshots()}
    return known.get(str(name), 0)

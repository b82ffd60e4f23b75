"""When to stop: signs in a run's own figures that its reward is not what people wanted.

Gao et al. 2023, "Scaling laws for reward model overoptimization", show that a policy trained too
far on a stand-in gets worse by the true measure; Huang et al. 2024 what such runs look like.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev

from rlhf.training.online.settings import AlarmSettings

Row = Mapping[str, float]

_RECENT = 2  # rounds whose mean stands for "now"; one alone is noise
_LONG = 5  # rounds at each end where a trend is asked for
_SURE = 3.0  # standard errors: it is asked of several figures, after every round


def alarm(
    history: Sequence[Row], settings: AlarmSettings, weights: Mapping[str, float]
) -> str | None:
    """Why the run must stop, or None. `weights` are those of the rewards in the sum."""
    failed = history[-1]["reward/invalid"]
    if settings.invalid is not None and failed > settings.invalid:
        return f"invalid: {failed:.0%} of the answers have a reward that failed"
    if len(history) <= _RECENT:
        return None
    return next(_alarms(history, settings, weights), None)


def _alarms(
    history: Sequence[Row], settings: AlarmSettings, weights: Mapping[str, float]
) -> Iterator[str]:
    kl = _now(history, "kl")
    if settings.kl is not None and kl > settings.kl:
        yield f"kl: the policy is {kl:.1f} nats a response from the reference, over {settings.kl:g}"
    entropy, before = _now(history, "entropy"), _start(history, "entropy")
    if settings.entropy is not None and entropy < settings.entropy * before:
        yield f"entropy: it fell from {before:.2f} to {entropy:.2f} nats a token"
    yield from _length(history, settings)
    if settings.unfinished is not None:
        yield from _unfinished(history, settings.unfinished)
    if settings.constant is not None:
        yield from _constant(history, settings.constant)
    if settings.domination is not None:
        yield from _domination(history, settings.domination, weights)
    if settings.held_out:
        yield from _held_out(history)


def _length(history: Sequence[Row], settings: AlarmSettings) -> Iterator[str]:
    """One round is enough where it is beyond noise: the next may have doubled the length."""
    before, now = history[0]["length"], history[-1]["length"]
    errors = [row["length_se"] / row["length"] for row in history]
    name, most = ("length", settings.length) if now > before else ("shortness", settings.shortness)
    change = abs(math.log(now / before))
    if most is not None and change >= math.log(most) and change > _SURE * _error(errors):
        yield f"{name}: answers went from {before:.0f} to {now:.0f} tokens"


def _unfinished(history: Sequence[Row], most: float) -> Iterator[str]:
    before, now = history[0]["finished"], history[-1]["finished"]
    error = _error([row["finished_se"] for row in history])
    if before - now > max(most, _SURE * error):
        yield f"unfinished: answers that come to their end went from {before:.0%} to {now:.0%}"


def _error(errors: Sequence[float]) -> float:
    """Of the difference of two rounds, from all rounds: that of one round is noise itself."""
    return math.sqrt(2 * fmean(error**2 for error in errors))


def _constant(history: Sequence[Row], most: float) -> Iterator[str]:
    for key in history[-1]:
        name, slash, what = key.removeprefix("reward/").rpartition("/")
        # A reward may itself be called `constant`.
        if slash and what == "constant" and (share := _now(history, key)) >= most:
            yield f"constant: {name} gives {share:.0%} of the answers the very same score"


def _domination(
    history: Sequence[Row], share: float, weights: Mapping[str, float]
) -> Iterator[str]:
    """One reward's gain is bought with the others' loss."""
    if len(history) < 2 * _LONG:
        return
    changes = {name: _change(history, f"reward/{name}", w) for name, w in weights.items() if w}
    if len(changes) < 2:
        return
    top = max(changes, key=lambda name: changes[name][0])
    gain, error = changes[top]
    lost = {name: c for name, c in changes.items() if c[0] < -_SURE * c[1]}
    loss = -sum(change for change, _ in lost.values())
    if gain > _SURE * error and lost and loss >= share * gain:
        names = ", ".join(sorted(lost))
        yield f"domination: {top} gained {gain:.3f} of reward while {names} lost {loss:.3f}"


def _held_out(history: Sequence[Row]) -> Iterator[str]:
    """Not the start alone is looked back at: a run may get better first."""
    seen = [(at, row) for at, row in enumerate(history) if "held_out/total" in row]
    if len(seen) < 2 or len(history) < 2 * _LONG:
        return
    last = seen[-1][1]
    at, best = max(seen[:-1], key=lambda item: item[1]["held_out/total"])
    fall = best["held_out/total"] - last["held_out/total"]
    noise = (best["held_out/se"] ** 2 + last["held_out/se"] ** 2) ** 0.5
    since = [row["reward/total"] for row in history[at:]]
    rise = fmean(since[-_LONG:]) - fmean(since[:_LONG])
    if fall > _SURE * noise and rise > 0:
        yield (
            f"held-out: the reward fell by {fall:.3f} on held-out prompts "
            f"and rose by {rise:.3f} on those that are trained"
        )


def _now(history: Sequence[Row], name: str) -> float:
    return fmean(row[name] for row in history[-_RECENT:] if name in row)


def _start(history: Sequence[Row], name: str) -> float:
    return fmean(row[name] for row in history[:_RECENT])


def _change(history: Sequence[Row], name: str, weight: float) -> tuple[float, float]:
    """From the first rounds to the last ones, with its standard error, in units of the sum."""
    first = [row[name] * weight for row in history[:_LONG] if name in row]
    last = [row[name] * weight for row in history[-_LONG:] if name in row]
    if len(first) < 2 or len(last) < 2:
        return 0.0, 0.0
    error = (stdev(first) ** 2 / len(first) + stdev(last) ** 2 / len(last)) ** 0.5
    return fmean(last) - fmean(first), error

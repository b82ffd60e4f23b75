"""How well a preview foretold what training came to: the order of the mixes by gain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlhf.errors import UsageError
from rlhf.lab.outcome import Outcome, gains_by_mix, kendall_tau


@dataclass(frozen=True)
class Foretold:
    """Predicted and measured gains by the yardstick of the mixes that both know."""

    predicted: Mapping[str, float]
    measured: Mapping[str, float]
    tau: float | None
    """Kendall's tau-b between the two orders."""


def predicted_gains(path: Path) -> dict[str, float]:
    """Each mix's gain at the largest n, from the JSON that `rlhf rewards preview` wrote."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        curves = {name: mix["curve"][-1]["changes"] for name, mix in told["mixes"].items()}
        return {name: float(changes["yardstick"]["mean"]) for name, changes in curves.items()}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(f"{path}: is not the JSON of `rlhf rewards preview`") from error


def compare(predicted: Mapping[str, float], outcomes: Sequence[Outcome]) -> Foretold:
    """The two orders beside each other."""
    gains = gains_by_mix(outcomes)
    known = [name for name in predicted if name in gains]
    ours = {name: predicted[name] for name in known}
    theirs = {name: gains[name] for name in known}
    return Foretold(ours, theirs, kendall_tau(ours, theirs))

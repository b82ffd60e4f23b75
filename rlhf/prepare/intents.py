"""The classifier that fills in intents, from rows that train and have one."""

from __future__ import annotations

import json
from typing import Any

from rlhf.data.labels import IntentClassifier, LabelSettings, fit_intents
from rlhf.prepare.ledger import Fates, Ledger

_AT_ONCE = 8_000


def fit(ledger: Ledger, fates: Fates, settings: LabelSettings) -> IntentClassifier | None:
    """None where it isn't asked for, or where there is too little to learn from."""
    if not settings.classify_intents:
        return None
    train = fates.kept & ~fates.held
    given: list[dict[str, Any]] = []
    for start, lines in ledger.blocks(_AT_ONCE):
        block = zip(lines.split(b"\n")[:-1], train[start : start + _AT_ONCE].tolist(), strict=True)
        rows = (json.loads(line) for line, trains in block if trains)
        given += [row for row in rows if row.get("intent")]
        if len(given) >= settings.learn_from:
            break
    return fit_intents(given, settings)

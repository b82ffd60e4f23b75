"""The classifier that fills in intents, from rows that train and have one."""

from __future__ import annotations

import json
from itertools import compress
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
    for block in ledger.blocks(_AT_ONCE):
        trains = train[block.start : block.start + len(block.lines)].tolist()
        rows = map(json.loads, compress(block.lines, trains))
        given += [row for row in rows if row.get("intent")]
        if len(given) >= settings.learn_from:
            break
    return fit_intents(given, settings)

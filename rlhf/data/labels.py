"""Labels of a row: path stages and turns always, an intent where it is given or can be told.

Intents that people gave are kept. A classifier of character n-grams learns from those and fills in
the others only if it is asked for and right often enough on prompts that it has not seen; what it
filled in is marked, what it is unsure of stays empty. Styles are given or absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from feedback_store import is_held_out
from rlhf.config import Settings
from rlhf.data.path_stages import STAGES, stages_of, turns_of

Share = Annotated[float, Field(ge=0, le=1)]
Row = Mapping[str, Any]

_HELD_OUT = 0.2
_FEATURES = 1 << 16
_EPOCHS = 15
_LEAST_ROWS = 50  # with intents, before a classifier is tried
_LONGEST = 1_000  # characters of a prompt that are read


class LabelSettings(Settings):
    """How rows without an intent are treated."""

    classify_intents: bool = False
    """Fill in missing intents by a classifier trained on those given."""
    min_accuracy: Share = 0.8
    """The classifier is used if its held-out accuracy is above this with 95 % confidence."""
    min_probability: Share = 0.6
    """An intent that it gives a smaller probability is left empty."""
    learn_from: int = Field(default=20_000, ge=1)
    """Train on so many rows at most."""
    seed: int = 0
    """Of the classifier's training."""


@dataclass(frozen=True)
class IntentClassifier:
    """A trained classifier with its accuracy on held-out prompts, `low` to `high` at 95 %."""

    model: Any
    accuracy: float
    low: float
    high: float
    held_out: int
    largest: float
    """What always naming the most frequent intent would score."""

    def document(self) -> dict[str, float]:
        """For the report."""
        told = ("accuracy", "low", "high", "held_out", "largest")
        return {name: getattr(self, name) for name in told}


def labelled(row: Row) -> dict[str, Any]:
    """The row with its `stages` (in the order of a path) and its `turns`."""
    found = stages_of(row)
    return {**row, "stages": [stage for stage in STAGES if stage in found], "turns": turns_of(row)}


def fit_intents(rows: Sequence[Row], settings: LabelSettings) -> IntentClassifier | None:
    """Train on four fifths of the prompts with an intent, measured on the rest.

    The split is by prompt, so that one asked twice is not on both sides. None where there are too
    few rows, or all of one intent.
    """
    given = [row for row in rows if row.get("intent") and "intent_by" not in row]
    given = given[: settings.learn_from]
    prompts = [_asked(row) for row in given]
    aside = np.array([is_held_out(text, _HELD_OUT, "intents") for text in prompts], dtype=bool)
    intents = np.array([row["intent"] for row in given], dtype=object)
    learned = intents[~aside]
    if len(given) < _LEAST_ROWS or not aside.any() or len(set(learned)) < 2:
        return None
    model = _train([p for p, out in zip(prompts, aside, strict=True) if not out], learned, settings)
    told = model.predict([p for p, out in zip(prompts, aside, strict=True) if out])
    return _measured(model, told, intents[aside], learned)


def is_good_enough(classifier: IntentClassifier | None, settings: LabelSettings) -> bool:
    """Whether it may fill in intents: asked for, and surely accurate enough."""
    return (
        settings.classify_intents
        and classifier is not None
        and classifier.low >= settings.min_accuracy
    )


def with_intents(
    rows: Sequence[Row], classifier: IntentClassifier, settings: LabelSettings
) -> list[dict[str, Any]]:
    """The rows, those without an intent with the classifier's where it is sure; 0.1 ms a row."""
    missing = [at for at, row in enumerate(rows) if not row.get("intent")]
    filled = [dict(row) for row in rows]
    if missing:
        chances = classifier.model.predict_proba([_asked(rows[at]) for at in missing])
        for at, chance in zip(missing, chances, strict=True):
            best = int(chance.argmax())
            if chance[best] >= settings.min_probability:
                filled[at]["intent"] = str(classifier.model.classes_[best])
                filled[at]["intent_by"] = "classifier"
    return filled


def _train(texts: list[str], intents: Any, settings: LabelSettings) -> Any:
    # Imported where it is needed: it takes a second, and most commands train no classifier.
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    grams = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=_FEATURES, alternate_sign=False
    )
    regression = SGDClassifier(
        loss="log_loss",
        alpha=1e-5,
        average=True,
        max_iter=_EPOCHS,
        tol=None,
        random_state=settings.seed,
    )
    return make_pipeline(grams, regression).fit(texts, intents)


def _measured(model: Any, told: Any, truth: Any, learned: Any) -> IntentClassifier:
    from scipy.stats import binomtest

    right, total = int((told == truth).sum()), len(truth)
    interval = binomtest(right, total).proportion_ci(method="wilson")
    usual = Counter(learned).most_common(1)[0][0]
    return IntentClassifier(
        model=model,
        accuracy=right / total,
        low=float(interval.low),
        high=float(interval.high),
        held_out=total,
        largest=float((truth == usual).mean()),
    )


def _asked(row: Row) -> str:
    said = [m["content"] for m in row["prompt"] if m["role"] == "user"]
    return "\n".join(said)[-_LONGEST:]

"""A reviewer's verdict as votes: on the declared metrics, as if a user had said it."""

from collections.abc import Sequence
from typing import Literal

from feedback_store.errors import Refused
from feedback_store.fields import printable
from feedback_store.metrics import Metric, Metrics
from feedback_store.schema import Feedback

Verdict = Literal["accept", "correct", "reject", "skip"]

_UP, _DOWN = 1.0, -1.0


def words_of(
    metrics: Metrics,
    interaction: str,
    voter: str,
    verdict: Verdict,
    *,
    reasons: Sequence[str] = (),
    text: str | None = None,
) -> list[Feedback]:
    """The votes that a verdict is; `Refused` for one that lacks what it needs.

    A correction makes the pair of better and worse answer; the down vote beside it is for stages
    that learn from single answers (KTO), which no correction reaches.
    """
    _check(verdict, reasons, text)
    if verdict == "skip":
        return []
    said = {"interaction": interaction, "voter": voter}
    words = []
    if verdict == "correct":
        metric = _metric(metrics, "correction")
        if metric is None:
            raise Refused("no metric of kind correction is declared here: reject instead")
        fields = {"kind": "correction", "metric": metric.name, "text": text}
        words.append(Feedback.model_validate(said | fields))
    value = _value(metrics, _UP if verdict == "accept" else _DOWN)
    if value is not None:
        given = () if verdict == "accept" else tuple(reasons)
        words.append(Feedback.model_validate(said | value | {"reasons": given}))
    return words


def can_correct(metrics: Metrics) -> bool:
    """Whether the store takes corrections."""
    return _metric(metrics, "correction") is not None


def _check(verdict: Verdict, reasons: Sequence[str], text: str | None) -> None:
    if any(printable(reason) != reason for reason in reasons):
        raise Refused("a reason is printable characters")
    if verdict == "correct" and not (text and text.strip()):
        raise Refused("a correction needs its text")
    if verdict != "correct" and text is not None:
        raise Refused(f"verdict {verdict} takes no text")
    if verdict == "reject" and not any(reason.strip() for reason in reasons):
        raise Refused("a rejection needs a reason")


def _value(metrics: Metrics, direction: float) -> dict[str, object] | None:
    """Kind, metric and value of an up or down vote; None where neither kind is declared."""
    if (thumb := _metric(metrics, "thumb")) is not None:
        return {"kind": "thumb", "metric": thumb.name, "value": thumb.to_scale(direction)}
    if (rating := _metric(metrics, "rating")) is not None:
        stars = 5.0 if direction > 0 else 1.0
        return {"kind": "rating", "metric": rating.name, "value": rating.from_scale(stars)}
    return None


def _metric(metrics: Metrics, kind: str) -> Metric | None:
    """The metric of a kind: the one that has its name, or the first."""
    of_kind = [metric for metric in metrics if metric.kind == kind]
    return next((m for m in of_kind if m.name == kind), of_kind[0] if of_kind else None)

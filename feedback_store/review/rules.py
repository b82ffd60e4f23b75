"""What a queue of human spot checks offers, and for how long."""

from pydantic import Field

from feedback_store.fields import Record


class SourceShares(Record):
    """How often each source is asked first, in proportion; the others follow where it is empty."""

    random: float = Field(default=1.0, ge=0)
    """People's recent answers, drawn blindly: what says how good answers are in truth."""
    disagreement: float = Field(default=1.0, ge=0)
    """Answers that have both up and down votes."""
    compliance: float = Field(default=1.0, ge=0)
    """Answers that broke a rule of the screen."""
    quarantine: float = Field(default=1.0, ge=0)
    """Answers whose votes are held back."""


class ReviewRules(Record):
    """One project's queue."""

    minutes: float = Field(default=10.0, gt=0)
    """For which an answer is reserved for one reviewer."""
    random_a_day: int = Field(default=50, ge=0)
    """Random answers a day (UTC); without a bound the queue would never be empty."""
    twice: float = Field(default=0.1, ge=0, le=1)
    """Share of the answers that two reviewers see."""
    gold: float = Field(default=0.05, ge=0, le=1)
    """Share of the answers whose right vote is known, as far as any are."""
    shares: SourceShares = SourceShares()
    """How often each source comes first."""

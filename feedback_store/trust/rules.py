"""What a project decides about trust."""

from typing import Annotated

from pydantic import Field

from feedback_store.fields import Count, Flag, Record

Share = Annotated[float, Field(gt=0, le=1)]


class TrustRules(Record):
    """How far votes are believed; simulated votes are not judged."""

    enabled: Flag = True
    """Off, every vote weighs 1 and only what a person quarantined is held back."""
    voter_share: Share = 0.03
    """One voter's largest share of a file's weight, in a store of many voters."""
    prompt_share: Share = 0.1
    """The largest share of all votes on one prompt and those that are nearly alike."""
    suspect_share: Share = 0.004
    """The largest share of votes that favour one rare phrase and look like a push for it."""
    votes_per_day: Count = 300
    """A voter's votes beyond so many within a day are left out."""
    new_votes_per_day: Count = 100
    """The same for an account's first day."""
    false_alarm: Share = 0.05
    """About how often a build may quarantine honest votes."""
    refuse_share: Share = 0.25
    """The build is refused where more than this share of the votes is quarantined by itself."""

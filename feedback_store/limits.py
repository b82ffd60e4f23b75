"""How much the store keeps for others' mistakes, and for how long."""

from datetime import timedelta

from pydantic import Field

from feedback_store.fields import Count, Record


class Limits(Record):
    """Bounds on what isn't yet, or no longer, a vote."""

    waiting: Count = 10_000
    """Votes that may wait for their interaction at once; one more is `Unavailable`."""
    waiting_of_voter: Count = 200
    """Those of one voter, so that nobody fills the room for all."""
    waiting_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """After so long in vain a vote is given up, and counted as expired."""
    request_age: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """For so long a request with an idempotency key can be sent again."""
    client_lag: timedelta = Field(default=timedelta(days=30), ge=timedelta(0))
    """A client's time further back than this is not kept."""
    client_lead: timedelta = Field(default=timedelta(minutes=5), ge=timedelta(0))
    """Nor one further ahead; an import's own time so far ahead is refused."""

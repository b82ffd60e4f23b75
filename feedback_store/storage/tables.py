"""The tables behind the records, one column a field, on one MetaData."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite drops the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


# Only INTEGER is an alias of SQLite's rowid, which makes appending in seq order cheap.
Seq = BigInteger().with_variant(Integer(), "sqlite")
Json = JSON(none_as_null=True)


def _seq() -> Column[Any]:
    return Column("seq", Seq, primary_key=True, autoincrement=False)


def _id(name: str = "id", *, null: bool = False, references: str | None = None) -> Column[Any]:
    keys = [ForeignKey(references)] if references else []
    return Column(name, String(128), *keys, nullable=null)


def _label(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, String(64), nullable=null)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _created() -> Column[Any]:
    return Column("created_at", Utc, nullable=False)


def _client_time() -> Column[Any]:
    return Column("client_time", Utc)


# `rows` is the last number given to a stored row. Writers hold its lock until they commit, so
# numbers become visible in order and an aborted transaction gives its numbers back. `waiting`
# counts the rows of that table, `expired` those that waited in vain.
counter = Table(
    "counter",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Seq, nullable=False),
)

# Written out, so that the planner sees that a query asks for nothing outside the index.
DRAWN = text("assignment_probability < 1")
ASKED = text('"user" IS NOT NULL')
BLOCKED = text("blocked IS NOT NULL")

interactions = Table(
    "interactions",
    metadata,
    _seq(),
    _id(),
    _label("project"),
    _id("conversation"),
    Column("turn", Integer, nullable=False),
    Column("messages", Json, nullable=False),
    Column("response", Text, nullable=False),
    Column("response_token_ids", Json),
    Column("finish_reason", String(16)),
    _id("policy", null=True),
    _id("template_hash", null=True),
    _label("style_asked", null=True),
    _label("style_used", null=True),
    _label("intent", null=True),
    Column("sampling", Json, nullable=False),
    Column("assignment_probability", Float),
    _flag("solicited"),
    _flag("simulated"),
    _flag("consent"),
    _id("user", null=True),
    Column("latency_ms", Float),
    Column("first_token_ms", Float),
    Column("blocked", Text),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    _created(),
    UniqueConstraint("id"),
    Index(None, "project", "seq"),
    # Answers whose policy was drawn by lot: none but while a canary has its share.
    Index(
        "ix_interactions_assigned",
        "policy",
        "seq",
        sqlite_where=DRAWN,
        postgresql_where=DRAWN,
    ),
    Index(None, "conversation"),
    Index("ix_interactions_user_seq", "user", "seq", sqlite_where=ASKED, postgresql_where=ASKED),
    Index("ix_interactions_blocked", "seq", sqlite_where=BLOCKED, postgresql_where=BLOCKED),
)

feedback = Table(
    "feedback",
    metadata,
    _seq(),
    _id(),
    _id("interaction", references="interactions.id"),
    _id("voter"),
    _label("metric"),
    Column("kind", String(16), nullable=False),
    Column("value", Float),
    Column("text", Text),
    Column("reasons", Json, nullable=False),
    _flag("simulated"),
    _flag("solicited"),
    _flag("withdrawn"),
    Column("revision", Integer, nullable=False),
    _created(),
    _client_time(),
    UniqueConstraint("id"),
    UniqueConstraint("interaction", "voter", "metric", "revision"),
)

# `low` and `high` are a and b sorted: the choice between two answers is one key, however shown.
comparisons = Table(
    "comparisons",
    metadata,
    _seq(),
    _id(),
    _label("project"),
    _id("a", references="interactions.id"),
    _id("b", references="interactions.id"),
    _id("low"),
    _id("high"),
    _id("voter"),
    Column("choice", String(16), nullable=False),
    Column("shown_first", String(1)),
    Column("reason", String(16)),
    _flag("simulated"),
    _flag("solicited"),
    _flag("withdrawn"),
    Column("revision", Integer, nullable=False),
    _created(),
    _client_time(),
    UniqueConstraint("id"),
    UniqueConstraint("low", "high", "voter", "revision"),
    # Without these, an interaction that goes would have all comparisons read for its foreign keys.
    Index(None, "a"),
    Index(None, "b"),
)

policies = Table(
    "policies",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("base_model", Text, nullable=False),
    _id("parent", null=True),
    _id("snapshot", null=True),
    _id("run", null=True),
    Column("path", Text, nullable=False),
    Column("manifest", Json, nullable=False),
    _created(),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("path", Text, nullable=False),
    _label("project"),
    Column("watermark", Seq, nullable=False),
    Column("counts", Json, nullable=False),
    Column("manifest", Json, nullable=False),
    _created(),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", String(128), primary_key=True),
    _label("project"),
    _id("candidate", references="policies.id"),
    _id("champion", null=True, references="policies.id"),
    _flag("promote"),
    Column("reasons", Json, nullable=False),
    Column("report", Json, nullable=False),
    _id("run", null=True),
    _created(),
)

releases = Table(
    "releases",
    metadata,
    _seq(),
    _label("project"),
    _id("policy", references="policies.id"),
    _id("previous", null=True, references="policies.id"),
    Column("action", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    _created(),
)

# What the store knows of itself, by name.
properties = Table(
    "properties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

# What is, or once was, voted on.
metrics = Table(
    "metrics",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("better", String(8), nullable=False),
    _flag("declared"),
)

# Votes that came before their interaction, in the order of their coming; `awaits` is one that is
# missing, or null where the vote can't be taken any more, for the reason in `problem`.
waiting = Table(
    "waiting",
    metadata,
    Column("place", Seq, primary_key=True, autoincrement=True),
    Column("record", String(16), nullable=False),
    _id(),
    _id("awaits", null=True),
    _id("voter"),
    Column("body", Json, nullable=False),
    Column("problem", Text),
    _created(),
    UniqueConstraint("record", "id"),
    Index(None, "awaits"),
    Index(None, "voter"),
    Index(None, "created_at"),
)

# Answers to requests that may be sent again; key and body are known by their keyed hashes.
requests = Table(
    "requests",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("body", String(64), nullable=False),
    Column("watermark", Seq, nullable=False),
    _created(),
    Index(None, "created_at"),
)

# What is left of rows that went by age and that a serving policy learned from: enough to count.
expired = Table(
    "expired",
    metadata,
    _seq(),
    _id(),
    Column("record", String(16), nullable=False),
    _label("project"),
    Column("kind", String(16), nullable=False),
    _id("policy", null=True),
    Index(None, "project", "seq"),
)


# People's decisions to hold a vote back or to let it go, the last one standing. `vote` may name a
# row of either vote table, so no foreign key holds it.
quarantine = Table(
    "quarantine",
    metadata,
    _seq(),
    _id("vote"),
    _flag("held"),
    Column("reason", Text, nullable=False),
    _created(),
    Index(None, "vote", "seq"),
)

# Answers whose right vote is known; NULL forgets one.
gold = Table(
    "gold",
    metadata,
    _seq(),
    _id("interaction", references="interactions.id"),
    Column("up", Boolean),
    _created(),
)

# Erasures: begun before the first row goes, finished when nothing is left to do. No id of the
# person stands here, only a hash to find the erasure again by; `first` is the lowest erased number
# of each project, which tells the snapshots that saw the person.
erasures = Table(
    "erasures",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("first", Json, nullable=False),
    Column("counts", Json, nullable=False),
    Column("copies", Json, nullable=False),
    _created(),
    Column("finished_at", Utc),
)

# A snapshot that was erased, and the one built again without the person, where there is one.
erased_snapshots = Table(
    "erased_snapshots",
    metadata,
    Column("snapshot", String(128), primary_key=True),
    _id("erasure", references="erasures.id"),
    _id("replaced_by", null=True),
)

# A policy that learned from erased rows: by itself (a snapshot, an export) or through another one.
taints = Table(
    "taints",
    metadata,
    Column("policy", String(128), primary_key=True),
    Column("erasure", String(128), ForeignKey("erasures.id"), primary_key=True),
    Column("through", String(16), nullable=False),
    _id("source"),
)

# Who may call the service: keys by their hashes, so that the store never tells one.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    _label("label"),
    _created(),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    UniqueConstraint("hash"),
)

# What reviewers said of answers; their votes stand in `feedback` beside everybody's. `source` is
# why the answer was in the queue.
reviews = Table(
    "reviews",
    metadata,
    _seq(),
    _label("project"),
    _id("interaction", references="interactions.id"),
    _id("voter"),
    Column("verdict", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", String(16), nullable=False),
    _created(),
    Index(None, "interaction"),
    Index(None, "project", "created_at"),
)

# Answers that a reviewer has before him now, so that nobody else gets them.
reservations = Table(
    "reservations",
    metadata,
    Column("interaction", String(128), ForeignKey("interactions.id"), primary_key=True),
    _id("voter"),
    Column("source", String(16), nullable=False),
    Column("expires_at", Utc, nullable=False),
)

# The newest of the votes that a project's last snapshot held back by itself, for people to judge.
held = Table(
    "held",
    metadata,
    Column("vote", String(128), primary_key=True),
    _label("project"),
    Column("reason", String(64), nullable=False),
    Index(None, "project"),
)

# Whether a project's champion stays where it is, the last word standing.
freezes = Table(
    "freezes",
    metadata,
    _seq(),
    _label("project"),
    _flag("frozen"),
    Column("reason", Text, nullable=False),
    _created(),
)

# Counts of one hour (since 1970, UTC), by what they are grouped by, as of `figures_upto`. Made of
# the rows above and can be made again: after an erasure they are, and `epoch` counts how often.
figures = Table(
    "figures",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("dimension", String(16), primary_key=True),
    Column("name", String(300), primary_key=True),
    Column("counts", JSON, nullable=False),
)

figures_upto = Table(
    "figures_upto",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("upto", Seq, nullable=False),
    Column("epoch", Integer, nullable=False),
)

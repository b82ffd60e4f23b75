"""What users said: interactions and votes, redacted and durable, and the data sets made of them."""

from feedback_store import redact
from feedback_store.api_keys import ApiKey
from feedback_store.errors import (
    Conflict,
    Damaged,
    EmptySnapshot,
    NotFound,
    Refused,
    StoreError,
    Unavailable,
)
from feedback_store.fields import new_id, printable
from feedback_store.freezes import Freeze
from feedback_store.intervals import Interval, difference_interval, rate_interval
from feedback_store.keeping.backup import BackupManifest, restore
from feedback_store.keeping.belongings import Person, Traces
from feedback_store.keeping.erasure import ErasedSnapshot, Erasure, Taint
from feedback_store.keeping.retention import RetentionRules
from feedback_store.limits import Limits
from feedback_store.metrics import Metric, Metrics
from feedback_store.reading.stats import Stats
from feedback_store.redact import Span, find
from feedback_store.review.reviews import Review
from feedback_store.review.rules import ReviewRules, SourceShares
from feedback_store.schema import (
    Comparison,
    Decision,
    Feedback,
    Interaction,
    Message,
    Policy,
    Release,
    Snapshot,
)
from feedback_store.snapshot import build_snapshot, load_snapshot
from feedback_store.snapshots.manifest import SnapshotManifest, SnapshotRules
from feedback_store.split import is_held_out, prompt_hash
from feedback_store.store import Store
from feedback_store.writing.waiting import Waiting

__all__ = [
    "ApiKey",
    "BackupManifest",
    "Comparison",
    "Conflict",
    "Damaged",
    "Decision",
    "EmptySnapshot",
    "ErasedSnapshot",
    "Erasure",
    "Feedback",
    "Freeze",
    "Interaction",
    "Interval",
    "Limits",
    "Message",
    "Metric",
    "Metrics",
    "NotFound",
    "Person",
    "Policy",
    "Refused",
    "Release",
    "RetentionRules",
    "Review",
    "ReviewRules",
    "Snapshot",
    "SnapshotManifest",
    "SnapshotRules",
    "SourceShares",
    "Span",
    "Stats",
    "Store",
    "StoreError",
    "Taint",
    "Traces",
    "Unavailable",
    "Waiting",
    "build_snapshot",
    "difference_interval",
    "find",
    "is_held_out",
    "load_snapshot",
    "new_id",
    "printable",
    "prompt_hash",
    "rate_interval",
    "redact",
    "restore",
]

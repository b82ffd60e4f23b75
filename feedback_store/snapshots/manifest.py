"""What a snapshot was built by and what it holds: the part of it that is hashed into its id."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any

from pydantic import Field

from feedback_store.fields import Count, Document, Flag, Id, Label, Record, Short
from feedback_store.trust.rules import TrustRules

TRAINING_FILES = ("sft.jsonl", "dpo.jsonl", "kto.jsonl", "prompts.jsonl")
HELD_OUT_FILES = (
    "heldout_dpo.jsonl",
    "heldout_kto.jsonl",
    "heldout_prompts.jsonl",
    "heldout_comparisons.jsonl",
)
MANIFEST = "manifest.json"

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":")
)


class SnapshotRules(Record):
    """How votes become rows."""

    project: Label = "default"
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of conversations kept aside to judge by; their prompts never train."""
    salt: Short = "rlhf"
    """Another salt keeps other conversations aside."""
    rating_up: float = 4.0
    """A rating of this or more counts as up."""
    rating_down: float = 2.0
    """A rating of this or less counts as down; what lies between isn't trained on."""
    include_simulated: Flag = True
    """Whether stand-in users count."""
    recency_half_life_days: float | None = Field(default=None, gt=0)
    """A row's weight halves with every so many days before the newest row; None keeps it."""
    window: Count | None = None
    """At most so many of the newest rows of each training file; None takes all."""
    replay: Count = 0
    """So many rows from before the window, drawn by weight."""
    max_prompt_chars: Count | None = None
    """Longer prompts are left out."""
    pairs_per_prompt: Count = 16
    """At most so many pairs of an upvoted and a downvoted answer to one prompt."""
    trust: TrustRules = TrustRules()
    """How far votes are believed."""


class FileEntry(Record):
    """One file's content hash and its number of rows."""

    sha256: Id
    rows: Count


class SnapshotManifest(Record):
    """A snapshot's contents; `dropped` counts what was left out, by file and reason.

    `erasures` names those that it does without. A store where the erased person never was gives
    the same snapshot but for `watermark` (the erased rows' numbers stay unused), `erasures` and,
    by these, `id`.
    """

    id: Id
    format: Count = 1
    project: Label
    watermark: Count
    rules: SnapshotRules
    files: dict[str, FileEntry]
    counts: dict[str, int]
    dropped: dict[str, dict[str, int]]
    erasures: tuple[Id, ...] = ()

    def document(self) -> Document:
        """The manifest as plain JSON values; without erasures, as it was before there were any."""
        return self.model_dump(mode="json", exclude=None if self.erasures else {"erasures"})

    def content_id(self) -> str:
        """The id that these contents have; no time and no place enters it."""
        body = self.document()
        del body["id"]
        return hashlib.sha256(canonical(body)).hexdigest()[:32]


def canonical(value: Any) -> bytes:
    """One line of JSON that depends on the value alone."""
    return _ENCODER.encode(value).encode() + b"\n"


def quoted(text: str | None) -> str:
    """A text, or null, as `canonical` spells it."""
    return "null" if text is None else encode_basestring(text)


def listed(texts: Iterable[str]) -> str:
    """Texts, sorted, as `canonical` spells their list."""
    return "[" + ",".join(map(encode_basestring, sorted(texts))) + "]"


def joined(pieces: Mapping[str, str]) -> str:
    """An object of values that are canonical JSON already, as `canonical` spells it.

    A row is put together from the same few texts several times over: encoding the whole of it
    each time took most of a large snapshot's time.
    """
    return "{" + ",".join([f'"{key}":{pieces[key]}' for key in sorted(pieces)]) + "}"

"""Which policies learned from what was erased: by themselves, or through those they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from feedback_store import Snapshot, Taint
from feedback_store.snapshots.manifest import TRAINING_FILES
from rlhf.lineage.ledger import Ledger


def learned_from(
    ledger: Ledger, erasure: str, old: Snapshot, new: Mapping[str, str]
) -> list[Taint]:
    """The policies that an erased snapshot taints: those whose file is another without the person.

    `new` has the sha256 of each training file that was built instead. A stage that learned from
    a file that stayed the same byte for byte never depended on the person.
    """
    before = hashes(old.manifest)
    changed = {name for name in TRAINING_FILES if before.get(name) != new.get(name)}
    return [
        Taint(policy=made.id, erasure=erasure, through="snapshot", source=old.id)
        for made in ledger.from_snapshot(old.id)
        if (made.learned_from in changed if made.learned_from else changed)
    ]


def of_exports(ledger: Ledger, erasure: str, digests: Iterable[str]) -> list[Taint]:
    """The policies that learned from a file of this sha256."""
    exports = set(digests)
    return [
        Taint(policy=made.id, erasure=erasure, through="export", source=made.data)
        for made in ledger.made.values()
        if made.data is not None and made.data in exports
    ]


def hashes(manifest: Mapping[str, object]) -> dict[str, str]:
    """Each file's sha256, by a snapshot's manifest."""
    files = manifest.get("files")
    entries = files.items() if isinstance(files, dict) else ()
    return {name: str(entry["sha256"]) for name, entry in entries if isinstance(entry, dict)}

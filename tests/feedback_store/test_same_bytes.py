"""The bytes of a snapshot are a contract: a release built long ago must still be found by them."""

import hashlib
import json
from pathlib import Path

import pytest
from varied_votes import fill

from feedback_store import SnapshotRules, Store, build_snapshot
from feedback_store.snapshots import spool
from feedback_store.trust.rules import TrustRules

# Of the first release's code. They may change with the rules or the format, and with nothing else.
RECORDED = {
    "plain": "43161537d666951f69d31eabc2418f8f",
    "all": "00a410c0194baa5184723669f75b53cf",
    "real": "acca48fcb6f3005806b9179c4978d531",
    "window": "a0fd9435dc17b36718dce60e4acb36c8",
    "replay": "b343c785eda0190d2da5c74dcd25458f",
    "other": "8e4eaf156a34a1c4ba15dfa354fc9c49",
}
# Trust came later; without it every vote weighs the same.
ALL = TrustRules(enabled=False)
RULES = {
    "plain": SnapshotRules(trust=ALL),
    "all": SnapshotRules(trust=ALL, held_out=0.0, pairs_per_prompt=100),
    "real": SnapshotRules(
        trust=ALL, held_out=0.3, include_simulated=False, rating_up=5, max_prompt_chars=80
    ),
    "window": SnapshotRules(
        trust=ALL, held_out=0.2, salt="s", recency_half_life_days=9.5, window=9
    ),
    "replay": SnapshotRules(
        trust=ALL, recency_half_life_days=30, window=7, replay=5, pairs_per_prompt=3
    ),
    "other": SnapshotRules(trust=ALL, project="other", held_out=0.5),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("buffer", [2**25, 5_000])
def test_the_same_votes_make_the_bytes_that_they_always_made(
    name: str, buffer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BUFFER", buffer)
    with Store.open(tmp_path / "store.db") as store:
        fill(store, seed=7)
        manifest = build_snapshot(store, tmp_path / "snapshots", RULES[name])
    body = manifest.document()
    kept = {key: body[key] for key in ("files", "counts", "dropped")}
    spelled = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(spelled.encode()).hexdigest()[:32] == RECORDED[name]

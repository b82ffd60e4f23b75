import pytest

from feedback_store import Conflict, Decision, NotFound, Policy, Release, Snapshot, Store


def policy(id: str, **fields: object) -> Policy:
    given = {"id": id, "kind": "lora", "base_model": "tiny", "path": f"runs/{id}"} | fields
    return Policy.model_validate(given)


def snapshot(**fields: object) -> Snapshot:
    given = {
        "id": "s1",
        "path": "data/s1",
        "project": "default",
        "watermark": 7,
        "counts": {"dpo.jsonl": 2},
        "manifest": {"rules": {}},
    }
    return Snapshot.model_validate(given | fields)


def test_adding_again_is_a_no_op_and_another_body_a_conflict(store: Store) -> None:
    first = store.add_policy(policy("p1", manifest={"loss": 0.5, "名": ["x", None]}))
    assert first.created_at is not None
    assert store.add_policy(policy("p1", manifest={"loss": 0.5, "名": ["x", None]})) == first
    assert store.policy("p1") == first
    with pytest.raises(Conflict, match="policy p1"):
        store.add_policy(policy("p1", parent="p0"))
    store.add_policy(policy("p2", parent="p1", snapshot="s1", run="r1"))
    assert [p.id for p in store.policies()] == ["p1", "p2"]
    with pytest.raises(NotFound, match="no policy p9"):
        store.policy("p9")


def test_a_snapshot_may_move_but_not_change(store: Store) -> None:
    store.add_snapshot(snapshot())
    store.add_snapshot(snapshot(path="elsewhere/s1"))
    assert store.snapshot("s1").path == "elsewhere/s1"
    with pytest.raises(Conflict, match="snapshot s1"):
        store.add_snapshot(snapshot(path="third/s1", watermark=8))
    assert [s.path for s in store.snapshots()] == ["elsewhere/s1"]


def test_a_policy_may_move_but_not_change(store: Store) -> None:
    store.add_policy(policy("p1", manifest={"loss": 1}))
    store.move_policy("p1", "elsewhere/p1")
    assert store.policy("p1").path == "elsewhere/p1"
    assert store.policy("p1").manifest == {"loss": 1}
    with pytest.raises(NotFound, match="no policy p2"):
        store.move_policy("p2", "nowhere")


def test_decisions_are_of_known_policies(store: Store) -> None:
    store.add_policy(policy("p1"))
    made = Decision(candidate="p1", promote=False, reasons=("too long",), report={"win": 0.4})
    kept = store.add_decision(made)
    assert store.add_decision(made) == kept == store.decision(made.id)
    assert store.decisions() == [kept]
    with pytest.raises(NotFound, match="no policy p2"):
        store.add_decision(Decision(candidate="p1", champion="p2", promote=True))


def test_the_champion_is_the_last_release(store: Store) -> None:
    assert store.champion() is None
    for id in ("p1", "p2"):
        store.add_policy(policy(id))
    store.add_release(Release(policy="p1", action="promote", reason="first"))
    second = store.add_release(Release(policy="p2", previous="p1", action="promote"))
    assert (second.seq, second.previous) == (2, "p1")
    assert store.add_release(Release(policy="p2", previous="p1", action="promote")) == second
    assert store.champion() == store.policy("p2")
    store.add_release(Release(policy="p1", action="rollback", reason="worse"))
    assert [(r.policy, r.previous, r.action) for r in store.releases()] == [
        ("p1", None, "promote"),
        ("p2", "p1", "promote"),
        ("p1", "p2", "rollback"),
    ]
    assert store.watermark() == 0  # releases don't move the votes' sequence


def test_each_project_has_its_own_champion(store: Store) -> None:
    store.add_policy(policy("p1"))
    store.add_policy(policy("p2"))
    store.add_release(Release(project="shop", policy="p1", action="promote"))
    store.add_release(Release(project="clinic", policy="p2", action="promote"))
    champions = [store.champion(name) for name in ("shop", "clinic", "school")]
    assert [c and c.id for c in champions] == ["p1", "p2", None]
    assert [r.previous for r in store.releases()] == [None, None]
    assert [r.policy for r in store.releases("clinic")] == ["p2"]


def test_a_release_made_meanwhile_is_a_conflict(store: Store) -> None:
    for id in ("p1", "p2", "p3"):
        store.add_policy(policy(id))
        store.add_release(Release(policy=id, action="promote")) if id != "p3" else None
    with pytest.raises(Conflict, match="the champion is p2, no longer p1"):
        store.add_release(Release(policy="p3", previous="p1", action="promote"))
    with pytest.raises(NotFound):
        store.add_release(Release(policy="p9", action="promote"))

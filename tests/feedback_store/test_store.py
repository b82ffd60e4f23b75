from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback_store import (
    Comparison,
    Conflict,
    Feedback,
    Interaction,
    Message,
    NotFound,
    Refused,
    Store,
    Unavailable,
)


def test_what_is_appended_is_read_back_stamped(store, ask, thumb, compare) -> None:
    full = Interaction(
        id="full",
        project="clinic",
        conversation="root",
        turn=3,
        messages=(
            Message(role="system", content="Be brief."),
            Message(role="user", content="头痛"),
        ),
        response="多喝水。",
        response_token_ids=(5, 6, 7),
        finish_reason="stop",
        policy="p1",
        template_hash="t1",
        style_asked="brief",
        style_used="brief",
        intent="advice",
        sampling={"temperature": 0.7, "top_k": 50, "greedy": False, "seed": None},
        assignment_probability=0.5,
        solicited=True,
        user="u1",
        latency_ms=12.5,
        prompt_tokens=9,
        completion_tokens=3,
    )
    assert store.append(interactions=[full, ask("b", project="clinic")]) == 2
    choice = compare("b", "full", "tie", project="clinic", shown_first="b", reason="arena")
    assert store.append(feedback=[thumb("full", reasons=("true",))], comparisons=[choice]) == 4
    kept = store.interaction("full")
    as_sent = {"seq": None, "created_at": None, "user": "u1"}
    assert kept.model_copy(update=as_sent) == full
    assert kept.user == store.pseudonym("u1")
    assert kept.seq == 1 and kept.created_at.utcoffset() == timedelta(0)
    (vote,) = store.feedback()
    assert (vote.seq, vote.revision, vote.value, vote.reasons) == (3, 1, 1.0, ("true",))
    (chosen,) = store.comparisons()
    assert (chosen.seq, chosen.revision, chosen.choice, chosen.a) == (4, 1, "tie", "b")
    assert store.watermark() == 4


def test_it_is_still_there_after_closing(tmp_path: Path, ask) -> None:
    path = tmp_path / "new" / "folder" / "it's 100% #1?.db"
    with Store.open(path) as store:
        store.append(interactions=[ask("a")])
    with Store.open(f"sqlite:///{path.parent}/other.db") as store:
        assert store.watermark() == 0
    with Store.open(str(path)) as store:
        assert store.interaction("a").response == "Fine."
    with pytest.raises(Unavailable, match="closed"):
        store.watermark()


def test_the_same_again_is_a_no_op_and_another_body_a_conflict(store, ask, thumb, compare) -> None:
    rows = {
        "interactions": [ask("a"), ask("b")],
        "feedback": [thumb("a")],
        "comparisons": [compare("a", "b", "a")],
    }
    assert store.append(**rows) == 4
    assert store.append(**rows) == 4
    assert store.append(interactions=[ask("c"), ask("c")]) == 5
    for other in (
        {"interactions": [ask("a", response="Bad.")]},
        {"feedback": [thumb("a", -1.0, id="thumb-a-ann-1.0")]},
        {"comparisons": [compare("b", "a", "a", id="choice-a-b-ann-a")]},
        {"interactions": [ask("d"), ask("d", response="else")]},
    ):
        with pytest.raises(Conflict, match="taken by another body"):
            store.append(**other)
    assert store.watermark() == 5


def test_redacted_rows_are_idempotent_too(store, ask) -> None:
    row = ask("a", prompt="call 13812345678")
    assert store.append(interactions=[row]) == store.append(interactions=[row]) == 1


def test_all_or_nothing_and_no_number_is_burnt(store, ask, thumb) -> None:
    with pytest.raises(NotFound, match="no interaction nowhere"):
        store.append(interactions=[ask("a")], feedback=[thumb("a"), thumb("nowhere")])
    assert store.watermark() == 0
    assert list(store.interactions()) == []
    assert store.append(interactions=[ask("a")]) == 1


def test_personal_data_never_reaches_the_file(tmp_path: Path, ask, thumb) -> None:
    secret = "13812345678"
    with Store.open(tmp_path / "s.db") as store:
        rows = [
            ask("a", prompt=f"I am {secret}", response=f"Hello {secret}", response_token_ids=(1,)),
            ask("b", prompt=f"I am {secret}", response="Hello", response_token_ids=(1,)),
        ]
        words = [
            Feedback(interaction="a", voter="v", kind="comment", text=f"mine is {secret}"),
            Feedback(interaction="a", voter="v", kind="correction", text=f"Hi {secret}"),
            thumb("a", reasons=(f"why {secret}",)),
        ]
        store.append(interactions=rows, feedback=words)
        a, b = store.interactions()
        assert a.messages[0].content == "I am <PHONE>"
        assert (a.response, a.response_token_ids) == ("Hello <PHONE>", None)
        assert (b.response, b.response_token_ids) == ("Hello", (1,))
        assert [word.text for word in store.feedback()] == ["mine is <PHONE>", "Hi <PHONE>", None]
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_the_redactor_is_a_hook(tmp_path: Path, ask) -> None:
    with Store.open(tmp_path / "s.db", redact=lambda text: text.replace("Fine", "<X>")) as store:
        store.append(interactions=[ask("a")])
        assert store.interaction("a").response == "<X>."
    longer = Store.open(tmp_path / "t.db", redact=lambda text: text * 50_000)
    with longer as store, pytest.raises(Refused, match="after redaction"):
        store.append(interactions=[ask("a")])


def test_a_changed_mind_supersedes_and_history_stays(store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a", 1.0), thumb("a", 1.0, voter="bob")])
    store.append(feedback=[thumb("a", -1.0)])
    ann, bob = map(store.pseudonym, ("ann", "bob"))
    assert {(v.voter, v.value) for v in store.feedback()} == {(ann, -1.0), (bob, 1.0)}
    assert [v.revision for v in store.feedback(live=False)] == [1, 1, 2]
    assert {(v.voter, v.value) for v in store.feedback(upto=3)} == {(ann, 1.0), (bob, 1.0)}
    assert store.live_feedback("a", "ann", "thumb").value == -1.0


def test_several_revisions_in_one_batch(store, ask, thumb) -> None:
    store.append(interactions=[ask("a")], feedback=[thumb("a", v, id=f"n{v}") for v in (1.0, -1.0)])
    (vote,) = store.feedback()
    assert (vote.value, vote.revision) == (-1.0, 2)


def test_a_withdrawal_is_a_tombstone(store, ask, thumb) -> None:
    rating = Feedback(interaction="a", voter="ann", kind="rating", value=5)
    store.append(interactions=[ask("a")], feedback=[thumb("a"), rating])
    store.withdraw("a", "ann", "thumb")
    assert [vote.metric for vote in store.feedback()] == ["rating"]
    assert len(list(store.feedback(upto=3))) == 2
    assert len(list(store.feedback(live=False))) == 3
    with pytest.raises(NotFound, match="no live thumb"):
        store.withdraw("a", "ann", "thumb")
    store.append(feedback=[thumb("a", -1.0)])
    assert store.live_feedback("a", "ann", "thumb").revision == 3


def test_a_comparison_is_one_value_whichever_way_round(store, ask, compare) -> None:
    store.append(interactions=[ask("a"), ask("b")], comparisons=[compare("a", "b", "a")])
    store.append(comparisons=[compare("b", "a", "a")])
    (live,) = store.comparisons()
    assert (live.a, live.choice, live.revision) == ("b", "a", 2)
    assert len(list(store.comparisons(live=False))) == 2
    store.withdraw_comparison("a", "b", "ann")
    assert list(store.comparisons()) == []
    assert len(list(store.comparisons(upto=4))) == 1
    with pytest.raises(NotFound):
        store.withdraw_comparison("b", "a", "ann")


def test_comparisons_stay_within_a_project(store, ask, compare) -> None:
    store.append(interactions=[ask("a", project="x"), ask("b", project="y")])
    with pytest.raises(Refused, match="is of project y"):
        store.append(comparisons=[compare("a", "b", "a", project="x")])
    with pytest.raises(NotFound):
        store.append(comparisons=[Comparison(a="a", b="zz", voter="v", choice="a", project="x")])


def test_reads_are_by_project_and_in_order(store, ask, thumb) -> None:
    rows = [ask(f"i{n}", project="xy"[n % 2]) for n in range(2_500)]
    store.append(interactions=rows, feedback=[thumb("i0"), thumb("i1"), thumb("i2")])
    mine = list(store.interactions(project="x"))
    assert [row.id for row in mine] == [f"i{n}" for n in range(0, 2_500, 2)]
    assert len(list(store.interactions(upto=1_200))) == 1_200
    assert [vote.interaction for vote in store.feedback(project="x")] == ["i0", "i2"]


def test_a_stream_may_be_left_half_read_or_written_beside(store, ask) -> None:
    store.append(interactions=[ask(f"i{n}") for n in range(1_500)])
    for _ in range(20):  # more than a pool of connections would bear
        next(store.interactions())
    seen = 0
    for row in store.interactions():
        seen += 1
        if seen == 1_000:
            store.append(interactions=[ask(f"new-{row.id}")])
    assert seen == 1_500  # the watermark when the reading began


def test_votes_since_counts_what_can_train(store, ask, thumb, compare) -> None:
    store.append(interactions=[ask("a"), ask("b"), ask("c", project="x")])
    mark = store.append(feedback=[thumb("a")])
    words = [
        thumb("a", -1.0),
        thumb("b"),
        thumb("c"),
        Feedback(interaction="a", voter="v", kind="comment", text="hm"),
        Feedback(interaction="a", voter="v", kind="implicit", value=1),
    ]
    store.append(feedback=words, comparisons=[compare("a", "b", "a")])
    assert store.votes_since(mark) == 4
    assert store.votes_since(mark, project="x") == 1
    store.withdraw("b", "ann", "thumb")
    assert store.votes_since(mark) == 3
    assert store.votes_since(store.watermark()) == 0


def test_stats(store, ask, thumb, compare) -> None:
    store.append(
        interactions=[ask("a", policy="p1"), ask("b", policy="p2"), ask("c")],
        feedback=[
            thumb("a"),
            thumb("b", -1.0, simulated=True),
            Feedback(interaction="a", voter="v", kind="rating", value=5),
            Feedback(interaction="a", voter="w", kind="rating", value=3),
        ],
        comparisons=[compare("a", "b", "a")],
    )
    assert store.stats() == {
        "watermark": 8,
        "interactions": 3,
        "votes": {"comparison": 1, "rating": 2, "thumb": 2},
        "up": 2,
        "down": 1,
        "real": 4,
        "simulated": 1,
        "by_policy": {
            "": {"interactions": 1, "up": 0, "down": 0},
            "p1": {"interactions": 1, "up": 2, "down": 0},
            "p2": {"interactions": 1, "up": 0, "down": 1},
        },
    }
    assert store.stats("elsewhere")["interactions"] == 0


def test_times_come_from_the_clock_or_the_import_but_not_the_future(tmp_path: Path, ask) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with Store.open(tmp_path / "s.db", clock=lambda: noon) as store:
        past = noon - timedelta(days=9)
        store.append(interactions=[ask("a"), ask("b", created_at=past)])
        assert store.interaction("a").created_at == noon
        assert store.interaction("b").created_at == past
        with pytest.raises(Refused, match="future"):
            store.append(interactions=[ask("c", created_at=noon + timedelta(days=1))])

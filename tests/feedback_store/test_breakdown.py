"""Groups and rates from the database are those that counting by hand gives."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from feedback_store import Comparison, Feedback, Interaction, Message, Store, rate_interval
from feedback_store.reading.breakdown import GROUPS

TEXTS = {
    "zh": ["好的。", "用 Python 写", "您好"],
    "en": ["Fine.", "naïve, 3 x 4"],
    "other": ["12 + 3", "はい、大丈夫です", "네", "Привет", ""],
}
START = datetime(2026, 1, 30, 23, 59, tzinfo=UTC)


def language(text: str) -> str:
    return next(name for name, texts in TEXTS.items() if text in texts)


@pytest.fixture
def history(store: Store) -> tuple[list[Interaction], list[Feedback], list[Comparison]]:
    """Random answers and votes; the last of several words under a key stands."""
    draw = random.Random(11)
    answers = [
        Interaction(
            id=f"i{n}",
            project=draw.choice(["default", "default", "clinic"]),
            conversation=f"c{n % 20}",
            messages=(Message(role="user", content="q"),),
            response=draw.choice([text for texts in TEXTS.values() for text in texts]),
            policy=draw.choice([None, "p1", "p2"]),
            style_asked=draw.choice([None, "formal"]),
            style_used=draw.choice([None, "concise"]),
            intent=draw.choice([None, "refund", "病情"]),
        )
        for n in range(120)
    ]
    votes = []
    for n in range(300):
        kind, value = draw.choice(
            [("thumb", 1.0), ("thumb", -1.0), ("rating", 5.0), ("rating", 3.0), ("rating", 1.0)]
        )
        voter = draw.choice("abcdefg")
        created = START + timedelta(hours=7 * (n % 40))
        fields = {"value": None, "withdrawn": True} if draw.random() < 0.1 else {"value": value}
        votes.append(
            Feedback.model_validate(
                {"id": f"v{n}", "interaction": f"i{draw.randrange(100)}", "voter": voter}
                | {"kind": kind, "created_at": created, **fields}
            )
        )
    own = [row.id for row in answers if row.project == "default"]
    chosen = [
        Comparison(id=f"x{n}", a=own[n], b=own[n + 1], voter="z", choice="a", created_at=START)
        for n in range(5)
    ]
    store.append(interactions=answers, feedback=votes, comparisons=chosen)
    return answers, votes, chosen


def direction(vote: Feedback) -> int:
    value = vote.value or 0.0
    if vote.kind == "thumb":
        return int(value)
    return int(value >= 4) - int(0 < value <= 2)


def live(votes: list[Feedback]) -> list[Feedback]:
    last = {(vote.interaction, vote.voter, vote.metric): vote for vote in votes}
    return [vote for vote in last.values() if not vote.withdrawn]


@pytest.mark.parametrize("project", [None, "default", "clinic"])
@pytest.mark.parametrize("group", GROUPS)
def test_groups_are_those_of_counting_by_hand(
    store: Store, history, group: str, project: str | None
) -> None:
    answers, votes, _ = history
    key = {
        "policy": lambda row: row.policy or "",
        "style": lambda row: row.style or "",
        "intent": lambda row: row.intent or "",
        "language": lambda row: language(row.response),
    }[group]
    rows = {row.id: key(row) for row in answers if project in (None, row.project)}
    said = Counter(
        (rows[vote.interaction], direction(vote))
        for vote in live(votes)
        if vote.interaction in rows
    )
    found = store.by_group(group, project=project)
    assert {name: share["interactions"] for name, share in found.items()} == Counter(rows.values())
    for name, share in found.items():
        up, down = said[name, 1], said[name, -1]
        assert (share["up"], share["down"]) == (up, down)
        assert (share["low"], share["high"]) == rate_interval(up, up + down)
        assert share["rate"] == up / (up + down)


def test_days_add_up_and_voters_are_counted_once(store: Store, history) -> None:
    _, votes, chosen = history
    days = store.by_day()
    ends = Counter((f"{v.created_at:%Y-%m-%d}", direction(v)) for v in live(votes))
    assert [(day["day"], day["up"], day["down"]) for day in days] == [
        (when, ends[when, 1], ends[when, -1]) for when in sorted({when for when, _ in ends})
    ]
    assert days[0]["day"] == "2026-01-30" and days[0]["comparisons"] == len(chosen)
    totals = store.stats()
    assert days[-1]["rate"] == totals["up"] / (totals["up"] + totals["down"])
    each = Counter(vote.voter for vote in live(votes)) + Counter({"z": len(chosen)})
    assert store.voters() == {
        "voters": len(each),
        "single": sum(count == 1 for count in each.values()),
        "votes": each.total(),
        "busiest": max(each.values()),
    }


def test_conversations_that_can_teach_are_named_once(store: Store, history) -> None:
    answers, votes, chosen = history
    of = {row.id: row.conversation for row in answers}
    wanted = {of[vote.interaction] for vote in live(votes)} | {of[row.a] for row in chosen}
    found = list(store.voted_conversations())
    assert sorted(found) == sorted(wanted)


def test_an_empty_store_has_no_rates(store: Store, ask) -> None:
    assert store.by_group("style") == {} and store.by_day() == []
    assert store.voters() == {"voters": 0, "single": 0, "votes": 0, "busiest": 0}
    store.append(interactions=[ask("a")])
    share = store.by_group("language")["en"]
    assert share["interactions"] == 1 and share["rate"] is None is share["low"]
    with pytest.raises(ValueError, match="no group voter"):
        store.by_group("voter")

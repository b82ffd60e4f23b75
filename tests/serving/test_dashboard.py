"""The dashboard's JSON and CSV, against what was put into the store."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from http_service import Served, config_of, serving
from hypothesis import given
from hypothesis import strategies as st
from reciting import Reciting

from feedback_store import Feedback, Interaction, Message, Policy, Release, Store
from feedback_store.intervals import rate_interval
from feedback_store.reading.figures import Key
from rlhf.serving.figure_tables import View, read_table
from rlhf.serving.figures import count_step
from rlhf.serving.histogram import place, quantile
from rlhf.serving.next_update import next_update
from rlhf.serving.web.dashboard import _board, csv_of

NOW = datetime.now(UTC)
FORMAL = "According to our records, your order was confirmed. Please verify the delivery address."


def answers(count: int, ago: timedelta, **fields: Any) -> list[Interaction]:
    given = {"response": "Your order ships today.", "finish_reason": "stop", "latency_ms": 1100.0}
    return [
        Interaction(
            messages=(Message(role="user", content="When?"),),
            created_at=NOW - ago,
            **{"first_token_ms": 100.0, "completion_tokens": 11, **given, **fields},
        )
        for _ in range(count)
    ]


def thumbs(rows: list[Interaction], ups: int) -> list[Feedback]:
    return [
        Feedback(
            interaction=row.id,
            voter="ann",
            kind="thumb",
            value=1.0 if number < ups else -1.0,
            created_at=row.created_at,
        )
        for number, row in enumerate(rows)
    ]


def fill(store: Store) -> None:
    """Ten answers of p1 now and ten five days ago, five of +p2, four simulated ones."""
    fresh = answers(10, timedelta(), policy="p1", response="No idea, dude.", style_used="formal")
    older = answers(10, timedelta(days=5), policy="p1", response=FORMAL, style_used="formal")
    slow = answers(5, timedelta(), policy="-p2", first_token_ms=3000.0, latency_ms=4000.0)
    blocked = answers(1, timedelta(), policy="-p2", finish_reason="content_filter", blocked="r")
    failed = answers(1, timedelta(), policy="-p2", finish_reason="error", first_token_ms=None)
    made_up = answers(4, timedelta(), policy="p1", simulated=True)
    rows = [*fresh, *older, *slow, *blocked, *failed, *made_up]
    votes = [*thumbs(fresh, 7), *thumbs(older, 10), *thumbs(slow, 1)]
    votes += [v.model_copy(update={"simulated": True}) for v in thumbs(made_up, 4)]
    store.append(interactions=rows, feedback=votes)


@pytest.fixture(scope="module")
def board(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("board")
    with serving(config_of(tiny_model, folder, poll_seconds=0.02), Reciting(), folder) as served:
        fill(served.store)
        until_counted(served.store)
        yield served


def until_counted(store: Store) -> None:
    end = time.monotonic() + 20
    while store.counted("default").upto < store.watermark():
        assert time.monotonic() < end, "not counted in time"
        time.sleep(0.02)


def look(served: Served, scope: str | None = None, **query: Any) -> dict[str, Any]:
    with served.client(scope) as client:
        answer = client.get("/web/dashboard", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_service_counts_by_itself_and_tells_it_all(board: Served) -> None:
    week = look(board, range="7d", by="policy")
    assert week["counting"] == {"upto": 60, "watermark": 60, "share": 1.0}
    total = week["total"]
    assert (total["answers"], total["up"], total["down"], total["votes"]) == (27, 18, 7, 25)
    low, high = rate_interval(18, 25)
    assert total["up_rate"] == {"value": 18 / 25, "low": low, "high": high, "n": 25}
    assert total["not_blocked"]["value"] == 26 / 27 and total["failed"]["value"] == 1 / 27
    assert total["first_token_p50"] == pytest.approx(100, rel=0.07)
    assert total["first_token_p95"] == pytest.approx(3000, rel=0.07)
    assert total["tokens_per_s_p50"] == pytest.approx(10, rel=0.07)
    assert [(g["group"], g["answers"], g["up"]) for g in week["groups"]] == [
        ("p1", 20, 17),
        ("-p2", 7, 1),
    ]
    p1 = week["groups"][0]
    assert p1["in_style"]["value"] == 0.5 and p1["in_style"]["n"] == 20  # the marks of FORMAL
    assert p1["rewards"]["style"] > 0 and p1["rewards"]["compliance"] == 0.0


def test_series_add_up_to_the_totals(board: Served) -> None:
    week = look(board, range="7d", by="policy")
    assert len(week["begins"]) == 7 * 24 and week["seconds"] == 3600
    for chart in week["charts"].values():
        assert all(len(line["values"]) == len(week["begins"]) for line in chart["series"])
    rates = {line["group"]: line for line in week["charts"]["up_rate"]["series"]}
    assert set(rates) == {None, "p1", "-p2"}
    assert sum(rates[None]["n"]) == 25 and sum(rates["p1"]["n"]) == 20
    ups = sum(
        round((v or 0) * n) for v, n in zip(rates["p1"]["values"], rates["p1"]["n"], strict=True)
    )
    assert ups == 17
    at = next(i for i, n in enumerate(rates["p1"]["n"]) if n)
    assert (rates["p1"]["low"][at], rates["p1"]["high"][at]) == rate_interval(10, 10)
    asked = week["charts"]["requests"]["series"]
    assert [sum(line["n"]) for line in asked] == [27, 20, 7]
    votes = {line["stat"]: sum(line["values"]) for line in week["charts"]["votes"]["series"]}
    assert votes["up"] == 18 and votes["down"] == 7 and votes["comments"] == 0


@pytest.mark.parametrize(
    ("span", "columns", "seconds", "count"),
    [("24h", 24, 3600, 17), ("7d", 168, 3600, 27), ("30d", 30, 86_400, 27), ("all", 6, 86_400, 27)],
)
def test_ranges(board: Served, span: str, columns: int, seconds: int, count: int) -> None:
    found = look(board, range=span)
    assert (len(found["begins"]), found["seconds"]) == (columns, seconds)
    assert found["total"]["answers"] == count


def test_simulated_rows_are_apart(board: Served) -> None:
    assert look(board, simulated=0)["total"]["answers"] == 27
    together = look(board, simulated=1)["total"]
    assert (together["answers"], together["up"]) == (31, 22)


@pytest.mark.parametrize("by", ["policy", "style", "intent", "language"])
def test_groups_are_those_of_the_store(board: Served, by: str) -> None:
    found = {g["group"]: (g["up"], g["down"]) for g in look(board, by=by, simulated=1)["groups"]}
    shares = board.store.by_group(by).items()
    assert found == {name: (share["up"], share["down"]) for name, share in shares}


def test_csv_has_the_numbers_of_the_chart(board: Served) -> None:
    week = look(board, range="7d", by="policy")
    with board.client() as client:
        for name, chart in week["charts"].items():
            answer = client.get(f"/web/dashboard/{name}.csv?range=7d&by=policy")
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            assert f'filename="{name}-policy-7d.csv"' in answer.headers["content-disposition"]
            head, *lines = csv.reader(io.StringIO(answer.text))
            assert head == ["time", "group", "series", "value", "low", "high", "n"]
            wanted = [value for line in chart["series"] for value in line["values"]]
            told = [float(line[3]) if line[3] else None for line in lines]
            near = 0.05 if name == "requests" else 1e-5  # the hour went on meanwhile
            assert told == [None if v is None else pytest.approx(v, rel=near) for v in wanted]
        head, *groups = csv.reader(io.StringIO(client.get("/web/dashboard/groups.csv").text))
        assert head[:3] == ["policy", "answers", "up"]
        # A spreadsheet would take the last one for a formula.
        assert [line[:3] for line in groups] == [
            ["(all)", "27", "18"],
            ["p1", "20", "17"],
            ["'-p2", "7", "1"],
        ]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_no_cell_is_a_formula(cells: list[str]) -> None:
    rows = csv_of([["x", *cells]])
    for cell in next(csv.reader(io.StringIO(rows, newline="")))[1:]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))


def test_what_is_asked_wrongly_is_told(board: Served) -> None:
    with board.client() as client:
        assert client.get("/web/dashboard?range=1y").status_code == 400
        assert client.get("/web/dashboard?by=user").status_code == 400
        assert client.get("/web/dashboard/none.csv").status_code == 404


def test_it_takes_the_scope_review(
    serve: Callable[..., AbstractContextManager[Served]],
) -> None:
    with serve(keys=True) as served:
        for scope, status in (("review", 200), ("admin", 200), ("chat", 403), ("vote", 403)):
            with served.client(scope) as client:
                assert client.get("/web/dashboard").status_code == status
                assert client.get("/web/dashboard/votes.csv").status_code == status
        with served.client() as client:
            assert client.get("/web/dashboard").status_code == 401


def test_the_baseline_is_the_champions_first_week(store: Store, clock: Any) -> None:
    store.append(interactions=_undated(3, policy="p1", response="a" * 100))
    clock.forward(days=10)
    store.append(interactions=_undated(3, policy="p1", response="a" * 400))
    store.add_policy(Policy(id="p1", kind="base", base_model="b", path="p"))
    store.add_release(Release(policy="p1", action="promote"))
    while count_step(store, "default"):
        pass
    found = _board(store, "default", Path("none"), View(span="30d"), clock())
    lines = {line["stat"]: line for line in found["charts"]["length"]["series"]}
    assert lines["baseline"]["values"] == [pytest.approx(100, rel=0.07)] * 30
    p50 = [v for v in found["charts"]["length"]["series"][0]["values"] if v]
    assert p50 == [pytest.approx(100, rel=0.07), pytest.approx(400, rel=0.07)]
    assert found["champion"] == "p1" and found["next_update"] is None


def test_a_long_history_is_shown_by_week(store: Store) -> None:
    day = 24 * 1000 * 7
    for at in (day, day + 24 * 500):
        since = store.counted("default")
        change = {Key(at, "all/day", ""): {"answers": 3}}
        assert store.add_figures("default", since, since.upto + 1, change)
    now = datetime.fromtimestamp((day + 24 * 500 + 5) * 3600, UTC)
    table = read_table(store, "default", View(span="all"), now)
    assert table.width == 24 * 7 and len(table.hours) == 72
    assert [cell["answers"] for cell in table.cells[None]] == [3, *[0] * 70, 3]


def test_quantiles_are_right_within_a_bin() -> None:
    sizes = np.random.default_rng(0).lognormal(5, 1.3, 5_000)
    bins: dict[int, int] = {}
    for size in sizes:
        bins[place(size)] = bins.get(place(size), 0) + 1
    for share in (0.05, 0.5, 0.95):
        assert quantile(bins, share) == pytest.approx(np.quantile(sizes, share), rel=0.06)
    assert quantile({}, 0.5) is None
    assert place(0.0) == place(-1.0) == -40 and place(1e300) == 160


def loop_folder(runs: Path, name: str, **settings: Any) -> Path:
    folder = runs / f"loop-20260101T000000Z-{name}"
    folder.mkdir(parents=True)
    given = {"name": name, "project": "default", "min_votes": 5, **settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(given))
    return folder


def test_the_next_update_is_the_loops(store: Store, tmp_path: Path) -> None:
    rows = _undated(9)
    store.append(interactions=rows)
    mark = store.append(feedback=_votes(rows[:4]))
    assert next_update(store, tmp_path / "nowhere", "default") is None
    loop_folder(tmp_path, "other", project="other")
    (loop_folder(tmp_path, "broken") / "config.yaml").write_text("{")
    assert next_update(store, tmp_path, "default") is None
    folder = loop_folder(tmp_path, "mine")
    first = next_update(store, tmp_path, "default")
    assert first is not None and (first.cycle, first.votes, first.missing) == (1, 4, 1)
    facts = {"watermark": mark, "done": True}
    (folder / "cycle-0001.json").write_text(json.dumps(facts))
    store.append(feedback=_votes(rows[4:6]))
    second = next_update(store, tmp_path, "default")
    assert second is not None and (second.cycle, second.votes, second.missing) == (2, 2, 3)
    store.append(feedback=_votes(rows[6:]))
    store.append(feedback=_votes(rows, "bob"))
    third = next_update(store, tmp_path, "default")
    assert third is not None and (third.votes, third.missing) == (5, 0)  # no more are counted


def _undated(count: int, **fields: Any) -> list[Interaction]:
    asked = (Message(role="user", content="When?"),)
    return [Interaction(messages=asked, **{"response": "Today.", **fields}) for _ in range(count)]


def _votes(rows: list[Interaction], voter: str = "ann") -> list[Feedback]:
    return [Feedback(interaction=row.id, voter=voter, kind="thumb", value=1.0) for row in rows]

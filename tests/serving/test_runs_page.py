"""Run folders as the page tells them, be they under way, broken, or made to do harm."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock
from http_service import Served, config_of, serving
from reciting import Reciting

from rlhf.runs import trainer_since
from rlhf.serving.run_curves import MOST_POINTS, Place, read_curves, thinned
from rlhf.serving.run_folders import RunFolder, finite, lines, plain, run_folder, run_folders

NAME = "dpo-20261124T040602Z-411321191ff1"


def begin(root: Path, name: str = NAME, **files: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("stage: dpo\nbeta: 0.1\n")
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    return folder


def rows(*values: dict[str, Any]) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    config = config_of(tiny_model, folder, runs=str(folder / "runs"))
    with serving(config, Reciting(), folder) as started:
        yield started


@pytest.fixture
def runs(served: Served) -> Path:
    """The service's runs folder, empty."""
    root = served.service.config.runs
    for path in (root, root.parent / "elsewhere-1"):
        shutil.rmtree(path, ignore_errors=True)
    root.mkdir()
    return root


@pytest.fixture
def client(served: Served, runs: Path) -> Iterator[httpx.Client]:
    with served.client() as opened:
        yield opened


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_finished_run_is_told_whole(client: httpx.Client, runs: Path) -> None:
    manifest = {"policy": "p1", "metrics": {"loss": 0.5, "steps": 2.0}, "finished": "2026"}
    begin(
        runs,
        manifest__json=json.dumps(manifest),
        lineage__json=json.dumps({"snapshot": "s"}),
        metrics__jsonl=rows(
            {"step": 1, "loss": 2.0, "rewards/chosen": 1.0, "rewards/rejected": 0.5, "epoch": 0.1},
            {"step": 2, "loss": 1.0, "eval_loss": 1.5},
        ),
    )
    begin(runs, "sft-20251124T040602Z-000000000000")
    listed = get(client, "/web/runs")
    assert [run["stage"] for run in listed["runs"]] == ["dpo", "sft"]  # the newest first
    first = listed["runs"][0]
    assert (first["state"], first["policy"]) == ("finished", "p1")
    assert first["figures"] == {"loss": 0.5, "steps": 2.0}
    assert first["began"] == "2026-11-24T04:06:02+00:00"
    assert get(client, "/web/runs?stage=sft")["count"] == 1
    run = get(client, f"/web/runs/{NAME}")
    assert run["config"] == "stage: dpo\nbeta: 0.1\n" and run["manifest"] == manifest
    assert run["learned_from"] == {"snapshot": "s"} and not run["has_report"]
    told = {(one["chart"], one["name"]): one["points"] for one in run["series"]}
    assert told[("loss", "loss")] == [[1, 2], [2, 1]] and told[("loss", "eval_loss")] == [[2, 1.5]]
    assert told[("rewards", "rewards/chosen")] == [[1, 1]]
    assert not any(name == "epoch" for _, name in told)


def test_what_came_since_is_read_alone(client: httpx.Client, runs: Path) -> None:
    folder = begin(runs, metrics__jsonl=rows({"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}))
    first = get(client, f"/web/runs/{NAME}")
    assert first["state"] == "running"
    same = get(client, f"/web/runs/{NAME}?after={first['next']}")
    assert same["series"] == [] and same["next"] == first["next"] and "config" not in same
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(rows({"step": 3, "loss": 1.0}) + '{"step": 4, "lo')  # a line still under way
    more = get(client, f"/web/runs/{NAME}?after={first['next']}")
    assert [one["points"] for one in more["series"]] == [[[3, 1]]]
    assert more["from"] == first["next"] and more["problems"] == []
    (folder / "metrics.jsonl").write_text(rows({"step": 1, "loss": 9.0}))  # a checkpoint before
    again = get(client, f"/web/runs/{NAME}?after={more['next']}")
    assert again["from"] == "0-0" and again["series"][0]["points"] == [[1, 9]]
    assert again["config"]
    odd = get(client, f"/web/runs/{NAME}?after=what")
    assert odd["from"] == "0-0"


HOSTILE = rows({"step": 1, "loss": 1.0}) + (
    '{"step": 2, "loss": NaN}\n{"step": 3, "loss": Infinity, "kl": 1e999}\n'
    "not json\n[1, 2]\nnull\n\n" + "[" * 100_000 + "\n"
    '{"step": ' + "9" * 400 + ', "loss": 1' + "0" * 400 + "}\n"
    '{"step": true, "loss": "1", "stage": {"a": 1}}\n' + '{"x": "' + "y" * 1_100_000 + '"}\n'
    '{"step": 4, "loss": 0.5, "<img src=x onerror=alert(1)>": 3}\n' + '\x00\xff{"step": 5}\n'
)


def test_hostile_lines_are_told_and_the_rest_is_drawn(client: httpx.Client, runs: Path) -> None:
    begin(runs, metrics__jsonl=HOSTILE, manifest__json='{"policy": NaN, "metrics": ["x"]}')
    run = get(client, f"/web/runs/{NAME}")
    (loss,) = (one for one in run["series"] if one["name"] == "loss")
    assert loss["points"] == [[1, 1], [4, 0.5]]
    assert "metrics.jsonl: line 2: loss is no finite number" in run["problems"]
    assert "metrics.jsonl: line 4: not JSON" in run["problems"]
    assert run["policy"] is None and run["manifest"]["policy"] == "nan"
    assert get(client, "/web/runs")["runs"][0]["state"] == "finished"


@pytest.mark.parametrize("file", ["manifest.json", "metrics.jsonl", "samples.jsonl", "report.html"])
def test_links_and_pipes_are_not_read(client: httpx.Client, runs: Path, file: str) -> None:
    secret = runs.parent / "secret"
    secret.write_text('{"policy": "secret", "step": 1, "answer": "secret", "metrics": {}}\n' * 3)
    for name, make in (("a", lambda path: path.symlink_to(secret)), ("b", os.mkfifo)):
        folder = begin(runs, f"sft-20260101T000000Z-{name}")
        make(folder / file)
        for path in ("", "/samples", "/report"):
            answer = client.get(f"/web/runs/{folder.name}{path}")
            assert "secret" not in answer.text and answer.status_code in (200, 404, 422)
    told = str(get(client, "/web/runs")["runs"])
    assert "secret" not in told
    if file == "manifest.json":
        assert "manifest.json: is no plain file" in told


def test_names_lead_nowhere_else(client: httpx.Client, runs: Path) -> None:
    outside = begin(runs.parent, "elsewhere-1")
    (runs / "linked-1").symlink_to(outside)
    begin(runs / "deeper", "inner-1")
    inside = begin(runs, "odd-1")
    (inside / "config.yaml").unlink()
    (inside / "config.yaml").symlink_to(outside / "config.yaml")
    for name in ("..%2felsewhere-1", "%2e%2e", "linked-1", "deeper%2finner-1", "odd-1", "%00",
                 "deeper", "a" * 201, str(outside).replace("/", "%2f")):  # fmt: skip
        for path in ("", "/samples", "/report"):
            assert client.get(f"/web/runs/{name}{path}").status_code in (400, 404), name
    assert get(client, "/web/runs")["count"] == 0
    assert run_folder(runs, "../elsewhere-1") is None


def test_a_report_is_framed_by_this_service_and_does_nothing(
    client: httpx.Client, runs: Path
) -> None:
    begin(runs, report__html="<h1>ok</h1><script>alert(1)</script>")
    answer = client.get(f"/web/runs/{NAME}/report")
    assert (
        answer.text.startswith("<h1>ok</h1>") and answer.headers["x-frame-options"] == "SAMEORIGIN"
    )
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and policy.endswith("sandbox")
    assert "script-src" not in policy and "frame-ancestors 'self'" in policy
    page = client.get("/runs")
    assert page.headers["x-frame-options"] == "DENY"
    begin(runs, "sft-1")
    assert client.get("/web/runs/sft-1/report").status_code == 404


def test_samples_of_both_kinds_are_paged(client: httpx.Client, runs: Path) -> None:
    round_ = {"update": 3, "prompt": "q", "answer": "a", "total": 0.5, "scores": {"length": 1.0}}
    trial = {
        "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}],
        "champion": "old", "candidate": "new", "verdict": "candidate", "reference": "r",
        "candidate_scores": {"total": 1.5, "nll": None}, "champion_scores": "none", "style": None,
    }  # fmt: skip
    odd = {"messages": [1, None], "prompt": 5, "answer": {"x": 1}}
    begin(runs, samples__jsonl=rows(round_, trial, odd) + "broken\n")
    found = get(client, f"/web/runs/{NAME}/samples")
    assert found["count"] == 4 and found["problems"] == ["samples.jsonl: line 4: not JSON"]
    first, second, third = found["samples"]
    assert first["answers"][0]["scores"] == {"total": 0.5, "length": 1.0} and first["update"] == 3
    assert second["prompt"] == "one\n\ntwo"
    assert [(a["by"], a["text"], a["wins"]) for a in second["answers"]] == [
        ("candidate", "new", True),
        ("champion", "old", False),
    ]
    assert third["answers"] == []
    assert len(get(client, f"/web/runs/{NAME}/samples?offset=1&most=1")["samples"]) == 1


def test_states_of_unfinished_runs(client: httpx.Client, runs: Path) -> None:
    def state() -> str:
        return str(get(client, "/web/runs")["runs"][0]["state"])

    folder = begin(runs, manifest__json="{broken")
    assert state() == "running"  # written to a moment ago
    old = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (old, old))
    assert state() == "failed"
    with FileLock(runs / ".trainer.lock"):
        assert trainer_since(runs) is not None
        assert state() == "failed"  # begun before the trainer that works now
        os.utime(folder / "config.yaml")
        os.utime(runs / ".trainer.lock", (old, old))
        assert state() == "running"
    assert trainer_since(runs) is None
    loop = begin(runs, "loop-20271124T040602Z-1", cycle__json="")
    (loop / "cycle-0001.json").write_text('{"done": true}')
    assert state() == "finished"
    (loop / "cycle-0002.json").write_text('{"champion": "x"}')
    assert state() == "running"


def test_only_reviewers_see_runs(
    serve: Callable[..., AbstractContextManager[Served]], runs: Path
) -> None:
    begin(runs, report__html="x")
    paths = ["/web/runs", *(f"/web/runs/{NAME}{part}" for part in ("", "/samples", "/report"))]
    paths += ["/web/lineage", "/web/lineage/votes?snapshot=s"]
    with serve(keys=True, runs=str(runs)) as served:
        for path in paths:
            for scope, status in ((None, 401), ("chat", 403), ("vote", 403)):
                with served.client(scope) as client:
                    assert client.get(path).status_code == status, (path, scope)
            with served.client("review") as client:
                assert client.get(path).status_code in (200, 404)


def test_a_missing_runs_folder_is_an_empty_list(
    serve: Callable[..., AbstractContextManager[Served]], tmp_path: Path
) -> None:
    with serve(runs=str(tmp_path / "nowhere")) as served, served.client() as client:
        assert get(client, "/web/runs")["count"] == 0
    assert run_folders(tmp_path / "nowhere") == []


def test_thinning_keeps_every_spike() -> None:
    points = [(float(step), 0.0) for step in range(100_000)]
    points[77_777] = (77_777.0, 9.0)
    points[12_345] = (12_345.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS and list(kept) == sorted(kept)
    assert {(77_777.0, 9.0), (12_345.0, -9.0)} <= set(kept)
    assert thinned(points[:MOST_POINTS]) == points[:MOST_POINTS]


def test_a_large_file_is_read_in_bounds_and_in_time(runs: Path) -> None:
    folder = begin(runs)
    line = rows({"step": 1, "loss": 1.0, **{f"k{n}": 1.0 for n in range(300)}})
    with (folder / "metrics.jsonl").open("w") as file:
        for _ in range(8_000):
            file.write(line)
    began = time.process_time()
    found = read_curves(RunFolder(folder))
    assert len(found.series) <= 120 and time.process_time() - began < 4
    assert found.end == Place((folder / "metrics.jsonl").stat().st_size, 8_000)
    assert "13% of its rows" in found.problems[0]
    assert sum(1 for _ in lines(RunFolder(folder), "metrics.jsonl", most_bytes=10_000)) <= 4
    assert str(Place.parse("9" * 400 + "-1")) == "9" * 15 + "-1"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "1", None, [1]])
def test_what_is_no_finite_number(value: Any) -> None:
    assert finite(value) is None
    json.dumps(plain({"x": value, 1: {"y": [value]}}), allow_nan=False)


def test_deep_and_wide_values_are_cut() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    assert len(json.dumps(plain(deep))) < 100
    assert len(plain(list(range(10**5)))) == 2_000 and len(plain("x" * 10**6)) == 20_001

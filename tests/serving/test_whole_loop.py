"""The loop over HTTP with the real model: answers served, voted on, learned from, served better.

`rlhf serve` and `rlhf loop --watch` run beside each other on one store, as a user runs them; the
client is OpenAI's for answers and httpx for votes. What the voters like is `examples/taste.py`.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml
from openai import OpenAI
from own_process import running, url_of, wait_for

from feedback_store import Store
from rewards.registry import resolve
from rlhf.data.records import read_records

CONFIGS = Path(__file__).parent.parent.parent / "configs"
TASTE = resolve(f"{CONFIGS / 'examples' / 'taste.py'}:to_the_point").fn
PROMPTS, VOTERS = 120, 30


def champion_of(folder: Path) -> str | None:
    with Store.open(folder / "runs" / "feedback.db") as store:
        found = store.champion("default")
    return found and found.id


def write_configs(folder: Path) -> None:
    loop = yaml.safe_load((CONFIGS / "quickstart.yaml").read_text(encoding="utf-8"))
    del loop["simulate"]
    loop["dialogues"] = [str(CONFIGS / path) for path in loop["dialogues"]]
    taste = [{"name": f"{CONFIGS / 'examples' / 'taste.py'}:to_the_point"}]
    loop["evaluation"]["judge"]["rewards"] = taste
    loop |= {"name": "http", "min_votes": 3 * PROMPTS, "watch_poll_s": 1.0}
    loop["snapshot"] = {"window": PROMPTS}
    # What is shown here is the way round, not the size of a gain: a gate that is open at 80 %.
    loop["gate"]["win"]["confidence"] = 0.8
    (folder / "loop.yaml").write_text(yaml.safe_dump(loop))
    serve = {"base_model": loop["base_model"], "port": 0, "poll_seconds": 0.5}
    serve["limits"] = {"requests_per_minute": 100_000}
    serve["style"] = None
    serve["sampling"] = {"max_new_tokens": 56, "temperature": 0.8}
    (folder / "serve.yaml").write_text(yaml.safe_dump(serve))


def liking(text: str) -> float:
    return TASTE([""], [text])[0]


@pytest.mark.slow
def test_votes_over_http_become_a_champion_that_the_server_takes_up(here: Path) -> None:
    write_configs(here)
    (here / "runs").mkdir()
    records = [r for name in ("en", "zh")
               for r in read_records(CONFIGS / "examples" / f"dialogues_{name}.jsonl")]  # fmt: skip
    prompts = [list(record.prompt) for record in records][:: len(records) // PROMPTS]
    command = ("loop", "loop.yaml", "--watch", "--cycles", "1")
    with running(here, *command) as (loop_log, _):
        first = wait_for("a first champion", lambda: champion_of(here), 600, loop_log)
        with running(here, "serve", "serve.yaml") as (serve_log, _):
            url = wait_for("a service", lambda: url_of(serve_log), 120, serve_log)
            client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)
            lock, votes = threading.Lock(), []

            def ask_and_vote(number: int) -> None:
                messages, voter = prompts[number % len(prompts)], f"voter-{number % VOTERS}"
                answers = [
                    client.chat.completions.create(
                        model="champion", messages=messages, user=voter, seed=2 * number + turn
                    )
                    for turn in (0, 1)
                ]
                assert {answer.model for answer in answers} == {first}
                texts = [answer.choices[0].message.content for answer in answers]
                likes = [liking(text) for text in texts]
                with httpx.Client(base_url=url, timeout=60) as http:
                    a, b = (answer.id for answer in answers)
                    choice = "a" if likes[0] > likes[1] else "b"
                    said = {"a": a, "b": b, "choice": choice, "voter": voter, "shown_first": "a"}
                    http.post("/v1/comparisons", json=said).raise_for_status()
                    for answer, own in zip(answers, likes, strict=True):
                        value = 1 if own >= sum(likes) / 2 else -1
                        put = f"/v1/interactions/{answer.id}/feedback/thumb"
                        http.put(put, json={"value": value, "voter": voter}).raise_for_status()
                with lock:
                    votes.append(time.monotonic())

            with ThreadPoolExecutor(16) as pool:
                list(pool.map(ask_and_vote, range(PROMPTS)))

            def swapped() -> str | None:
                found = client.models.list().data[0].id
                return found if found != first else None

            second = wait_for("a new champion", swapped, 1_800, loop_log, serve_log)
            answer = client.chat.completions.create(model="champion", messages=prompts[0])
            seconds = time.monotonic() - max(votes)
            assert answer.model == second == champion_of(here)
    with Store.open(here / "runs" / "feedback.db") as store:
        assert store.interaction(answer.id).policy == second
        stats = store.stats("default")
    assert stats["votes"]["comparison"] == PROMPTS and stats["votes"]["thumb"] == 2 * PROMPTS
    print(f"from the last vote to the first answer of {second}: {seconds:.0f} s")

"""One answer by its vote token: that answer, that voter, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from http_service import Served, config_of, serving
from reciting import Reciting

from feedback_store import Feedback, Interaction, Message, Metric, Metrics, Policy, Store

Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    config = config_of(tiny_model, folder)
    with serving(config, Reciting(), folder, open_without_keys=False) as found:
        said = (
            Message(role="system", content="the operator's own words"),
            Message(role="user", content="When?"),
        )
        found.store.add_policy(Policy(id="p1", kind="lora", base_model="b", path="/nowhere"))
        found.store.append(
            interactions=[
                Interaction(id=id, messages=said, response="On Friday.", user="ann", policy="p1")
                for id in ("a:1", "a2")
            ],
            feedback=[
                Feedback(
                    interaction="a:1", voter="ann", kind="thumb", value=1.0, reasons=("kind",)
                ),
                Feedback(interaction="a:1", voter="bob", kind="comment", text="bob's word"),
                Feedback(
                    interaction="a:1", voter="ann", kind="implicit", metric="copied", value=1.0
                ),
            ],
        )
        yield found


def get(served: Served, id: str, token: str | None, **headers: str) -> httpx.Response:
    given = headers | ({"X-Vote-Token": token} if token else {})
    with served.client() as client:
        return client.get(f"/web/answer/{id}", headers=given)


def token(served: Served, id: str, voter: str = "ann") -> str:
    return served.service.tokens.make(id, voter)


def test_the_dialogue_and_this_voters_words_alone(served: Served) -> None:
    answer = get(served, "a:1", token(served, "a:1"))
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "a:1",
        "messages": [{"role": "user", "content": "When?"}],
        "response": "On Friday.",
        "votes": [{"kind": "thumb", "value": 1.0, "text": None, "reasons": ["kind"]}],
        "metrics": {"thumb": "thumb", "comment": "comment", "correction": "correction"},
    }
    assert get(served, "a:1", token(served, "a:1", "eve")).json()["votes"] == []


def test_nothing_but_its_own_token_opens_an_answer(served: Served) -> None:
    assert get(served, "a:1", None).status_code == 401
    other = get(served, "a:1", token(served, "a2"))
    assert (other.status_code, other.json()["error"]["code"]) == (403, "other_interaction")
    forged = get(served, "a:1", token(served, "a:1")[:-2] + "xx")
    assert (forged.status_code, forged.json()["error"]["code"]) == (401, "invalid_vote_token")
    two = ",".join([token(served, "a:1"), token(served, "a2")])
    assert get(served, "a:1", two).status_code == 403
    for scope in ("admin", "vote", "chat"):
        key = {"Authorization": f"Bearer {served.key(scope)}"}
        assert get(served, "a:1", None, **key).status_code == 401
        assert get(served, "a:1", token(served, "a2"), **key).status_code == 403
    assert get(served, "gone", token(served, "gone")).status_code == 404


def test_without_keys_the_token_is_asked_for_all_the_same(reciting_server: Served) -> None:
    assert get(reciting_server, "a1", None).json()["error"]["code"] == "missing_vote_token"


def test_a_store_with_other_metrics_says_which_to_vote_under(serve: Serve, tmp_path: Path) -> None:
    metrics = Metrics((Metric(name="helpful", kind="thumb"), Metric(name="stars", kind="rating")))
    Store.open(tmp_path / "store.db", metrics=metrics).close()
    with serve() as served:
        said = (Message(role="user", content="q"),)
        served.store.append(interactions=[Interaction(id="a", messages=said, response="r")])
        found = get(served, "a", token(served, "a")).json()
    assert found["metrics"] == {"thumb": "helpful", "comment": None, "correction": None}

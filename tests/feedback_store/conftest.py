"""A real store in a file of its own, and short ways to make records."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback_store import Comparison, Feedback, Interaction, Message, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty `s.db` and its key to copy: faster than making one each time."""
    folder = tmp_path_factory.mktemp("empty-store")
    Store.open(folder / "s.db").close()
    return folder


@pytest.fixture
def ask() -> Callable[..., Interaction]:
    def make(id: str, prompt: str = "How are you?", response: str = "Fine.", **fields: Any):
        messages = (Message(role="user", content=prompt),)
        return Interaction(id=id, messages=messages, response=response, **fields)

    return make


@pytest.fixture
def thumb() -> Callable[..., Feedback]:
    def make(interaction: str, value: float = 1.0, voter: str = "ann", **fields: Any):
        fields.setdefault("id", f"thumb-{interaction}-{voter}-{value}")
        return Feedback(interaction=interaction, voter=voter, kind="thumb", value=value, **fields)

    return make


@pytest.fixture
def compare() -> Callable[..., Comparison]:
    def make(a: str, b: str, choice: str, voter: str = "ann", **fields: Any):
        fields.setdefault("id", f"choice-{a}-{b}-{voter}-{choice}")
        return Comparison(a=a, b=b, voter=voter, choice=choice, **fields)

    return make

"""LangChain's ChatOpenAI, unchanged."""

from __future__ import annotations

import asyncio

import pytest
from http_service import Served
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI


@pytest.fixture
def model(reciting_server: Served) -> ChatOpenAI:
    return ChatOpenAI(
        model="champion",
        base_url=f"{reciting_server.url}/v1",
        api_key="none",
        temperature=0.2,
        max_tokens=20,
        max_retries=0,
        extra_body={"style": "concise"},
    )


def test_invoke(reciting_server: Served, model: ChatOpenAI) -> None:
    answer = model.invoke([SystemMessage("Be brief."), HumanMessage("say it is done")])
    assert answer.content == "it is done"
    assert answer.usage_metadata is not None and answer.usage_metadata["output_tokens"] == 3
    kept = reciting_server.store.interaction(answer.response_metadata["id"])
    assert kept.style_used == "concise" and kept.sampling["max_new_tokens"] == 20


def test_stream(reciting_server: Served, model: ChatOpenAI) -> None:
    said = "This is a sentence of a fair length, now it ends. This is another one, which ends too."
    chunks = list(model.stream(f"slowly {said}", max_tokens=60))
    assert "".join(str(chunk.content) for chunk in chunks) == said
    assert len([chunk for chunk in chunks if chunk.content]) >= 2


def test_async(model: ChatOpenAI) -> None:
    async def ask() -> list[object]:
        answers = await model.abatch([f"say number {n}" for n in range(8)])
        return [answer.content for answer in answers]

    assert asyncio.run(ask()) == [f"number {n}" for n in range(8)]

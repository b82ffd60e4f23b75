"""OpenAI's own client, unchanged: sync, async and streaming."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from http_service import Served

from feedback_store import Interaction

QUESTION = {"role": "user", "content": "say one two three"}


@pytest.fixture
def client(reciting_server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{reciting_server.url}/v1", api_key="none", max_retries=0
    ) as client:
        yield client


def recorded(served: Served, id: str) -> Interaction:
    return served.store.interaction(id)


def test_a_whole_answer(reciting_server: Served, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="champion",
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "say one two three"}]},
        ],
        temperature=0.5,
        top_p=0.9,
        max_tokens=10,
        seed=7,
        n=1,
        stop=["\n\n"],
        user="someone@example.com",
        metadata={"page": "help"},
        extra_body={"style": "formal+caring", "conversation": "c-1", "turn": 3},
    )
    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)
    extra = answer.model_extra
    assert extra is not None and extra["style"] == "formal+caring"
    kept = recorded(reciting_server, answer.id)
    assert [(m.role, m.content) for m in kept.messages] == [
        ("system", "Be kind."),
        ("user", "say one two three"),
    ]
    assert kept.response == "one two three"
    assert kept.response_token_ids == (1, 2, 3)
    assert kept.finish_reason == "stop"
    assert kept.policy is None, "before a first release the bare base model answers"
    assert kept.template_hash
    assert kept.style_used == "formal+caring"
    assert kept.sampling["temperature"] == 0.5 and kept.sampling["seed"] == 7
    assert kept.sampling["max_new_tokens"] == 10 and kept.sampling["stop"] == '["\\n\\n"]'
    assert kept.assignment_probability == 1.0
    assert (kept.conversation, kept.turn) == ("c-1", 3)
    assert kept.user == reciting_server.store.pseudonym("someone@example.com")
    assert kept.latency_ms is not None and kept.first_token_ms is not None
    assert 0 <= kept.first_token_ms <= kept.latency_ms
    assert (kept.prompt_tokens, kept.completion_tokens) == (2, 3)


def test_a_stream_is_on_disk_before_it_ends(reciting_server: Served, client: openai.OpenAI) -> None:
    said = " ".join(f"This is sentence number {n}, which has its end here." for n in range(4))
    stream = client.chat.completions.create(
        model="champion",
        messages=[{"role": "user", "content": f"slowly {said}"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    texts, finish, usage = [], None, None
    for chunk in stream:
        if chunk.choices:
            texts.append(chunk.choices[0].delta.content or "")
            if chunk.choices[0].finish_reason:
                finish = chunk
                assert recorded(reciting_server, chunk.id).finish_reason == "stop"
        usage = chunk.usage or usage
    assert "".join(texts) == said and len([t for t in texts if t]) >= 3
    assert finish is not None and finish.choices[0].finish_reason == "stop"
    assert finish.model_extra is not None and finish.model_extra["feedback"]["token"]
    assert usage is not None and usage.completion_tokens == len(said.split())


def test_the_async_client_and_its_streams(reciting_server: Served) -> None:
    async def ask(client: openai.AsyncOpenAI, n: int) -> tuple[str, str]:
        stream = await client.chat.completions.create(
            model="champion",
            messages=[{"role": "user", "content": f"slowly answer {n}."}],
            stream=True,
        )
        text, id = "", ""
        async for chunk in stream:
            text, id = text + (chunk.choices[0].delta.content or ""), chunk.id
        return id, text

    async def all_of_them() -> list[tuple[str, str]]:
        async with openai.AsyncOpenAI(
            base_url=f"{reciting_server.url}/v1", api_key="none", max_retries=0
        ) as client:
            return await asyncio.gather(*(ask(client, n) for n in range(20)))

    for n, (id, text) in enumerate(asyncio.run(all_of_them())):
        assert text == f"answer {n}."
        assert recorded(reciting_server, id).response == text


def test_tokens_are_limited(client: openai.OpenAI) -> None:
    for limit in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(model="default", messages=[QUESTION], **{limit: 2})
        assert answer.choices[0].message.content == "one two"
        assert answer.choices[0].finish_reason == "length"


def test_models(reciting_server: Served, client: openai.OpenAI) -> None:
    found = client.models.list().data
    base = reciting_server.service.config.base_model
    assert [model.id for model in found] == [Path(base).name], "a path is nobody's business"
    named = client.chat.completions.create(model=found[0].id, messages=[QUESTION])
    assert named.model == found[0].id
    assert recorded(reciting_server, named.id).assignment_probability is None


def test_an_unknown_model(client: openai.OpenAI) -> None:
    for name in ("gpt-4o", "../../etc/passwd", "x" * 900):
        with pytest.raises(openai.NotFoundError) as error:
            client.chat.completions.create(model=name, messages=[QUESTION])
        assert error.value.code == "model_not_found" and error.value.param == "model"
        assert "passwd" not in str(error.value) and "xxx" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("logit_bias", {"50256": -100}),
        ("frequency_penalty", 0.5),
        ("top_k", 5),
        ("style", "angry"),
        ("temperature", 3),
        ("max_tokens", 0),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("seed", "7"),
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(
    reciting_server: Served, client: openai.OpenAI, field: str, value: object
) -> None:
    before = reciting_server.store.watermark()
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="champion", messages=[QUESTION], extra_body={field: value}
        )
    assert str(error.value.param).startswith(field)
    assert reciting_server.store.watermark() == before


def test_what_asks_for_nothing_is_passed_over(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="champion",
        messages=[QUESTION],
        extra_body={
            "tools": [],
            "response_format": {"type": "text"},
            "logprobs": False,
            "presence_penalty": 0,
            "service_tier": "auto",
            "store": True,
            "reasoning_effort": "low",
            "prompt_cache_key": "k",
            "something_new": {"x": 1},
        },
    )
    assert answer.choices[0].message.content == "one two three"


def test_turns_that_are_not_text_are_refused(client: openai.OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}}
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="champion", messages=[{"role": "user", "content": [picture]}]
        )
    assert str(error.value.param).startswith("messages.0.content")
    assert len(str(error.value)) < 600, "the picture is not sent back"
    with pytest.raises(openai.BadRequestError, match=r"messages\.0\.role"):
        client.chat.completions.create(
            model="champion",
            messages=[{"role": "tool", "content": "x", "tool_call_id": "1"}],
        )


def test_a_long_prompt_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="champion", messages=[{"role": "user", "content": "say " + "x" * 32_000}]
        )
    assert error.value.code == "context_length_exceeded"


def test_turns_that_the_template_refuses(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model="champion", messages=[{"role": "user", "content": "refuse this"}]
        )
    assert error.value.param == "messages"

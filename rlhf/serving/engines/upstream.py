"""Another server that speaks OpenAI's protocol does the drawing: vLLM, SGLang, TGI.

Policies are its models, by name: an adapter's name there is the policy's id. Nothing that the
server says is quoted in an error or a log: it might repeat a prompt.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import httpx
from pydantic import ValidationError

from rlhf.chat import styled
from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.policies import Policy, verify_policy
from rlhf.serving import settings
from rlhf.serving.engines import Ask, EngineFailed, Piece
from rlhf.serving.engines.chunks import Chunk
from rlhf.serving.engines.in_use import InUse
from rlhf.serving.engines.text import Shown

_CONNECT_S, _SILENCE_S, _LOOK_S = 5.0, 120.0, 5.0
_UNUSABLE = (400, 413, 422)


class UpstreamEngine:
    """`Engine` over HTTP. A client that leaves closes the stream there."""

    def __init__(self, chosen: settings.UpstreamEngine) -> None:
        self._settings = chosen
        self._alive = False
        self._names: dict[str, str] = {}
        """What each policy is called there, by its label."""
        self._loaded: set[str] = set()
        """Labels of those that were loaded for us."""
        self._in_use = InUse()
        self._client: httpx.AsyncClient
        self._look: asyncio.Task[None]

    @property
    def alive(self) -> bool:
        return self._alive

    async def start(self) -> None:
        self._client = httpx.AsyncClient(
            base_url=self._settings.url.rstrip("/") + "/",
            headers=_authorization(self._settings.key_env),
            timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None),
        )
        try:
            await self._models()
        except EngineFailed:
            await self._client.aclose()
            raise
        self._look = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        self._alive = False
        self._look.cancel()
        with suppress(asyncio.CancelledError):
            await self._look
        await self._client.aclose()

    async def ready(self, policy: Policy) -> None:
        name = self._name(policy)
        taken = [label for label, n in self._names.items() if n == name and label != policy.label]
        if taken:
            raise UsageError(
                f"engine.model: {name} answers for policy {taken[0]}, and can't for "
                f"{policy.label} too; leave `model` out, and serve each by its id"
            )
        if name not in await self._models():
            await self._load(policy, name)
        self._names[policy.label] = name

    async def drop(self, label: str) -> None:
        name = self._names.pop(label, None)
        await self._in_use.until_free(label)
        if name is None or label in self._names or label not in self._loaded:
            return
        self._loaded.discard(label)
        await self._post("unload_lora_adapter", {"lora_name": name})

    async def answer(self, ask: Ask) -> AsyncIterator[Piece]:
        name = self._names.get(ask.policy)
        if name is None:
            raise EngineFailed(f"policy {ask.policy} is not ready")
        request = self._client.build_request("POST", "chat/completions", json=self._body(name, ask))
        with self._in_use.of(ask.policy):
            try:
                response = await self._client.send(request, stream=True)
                try:
                    self._check(response)
                    reading = Reading()
                    async for line in response.aiter_lines():
                        if piece := reading.piece(line):
                            yield piece
                    reading.check_ended()
                finally:
                    await response.aclose()
            except httpx.HTTPError as error:
                raise self._failure(f"broke off ({type(error).__name__})") from error

    def _body(self, name: str, ask: Ask) -> dict[str, Any]:
        """vLLM's own fields go only to a server that is one: others may refuse them."""
        body: dict[str, Any] = {
            "model": name,
            "messages": styled(ask.messages, ask.style),
            "max_tokens": ask.sampling.max_new_tokens,
            "temperature": ask.sampling.temperature,
            "top_p": ask.sampling.top_p,
            "seed": ask.seed % 2**31,
            "stream": True,
        }
        if ask.stop:
            body["stop"] = list(ask.stop)
        if self._settings.load_adapters:
            usage = {"include_usage": True, "continuous_usage_stats": True}
            body |= {"return_token_ids": True, "stream_options": usage}
        return body

    # Models and adapters there

    def _name(self, policy: Policy) -> str:
        """`model` names the base where adapters are loaded, and else whatever answers."""
        named = self._settings.model
        if named is None or (self._settings.load_adapters and policy.kind != "base"):
            return policy.label
        return named

    async def _load(self, policy: Policy, name: str) -> None:
        if not self._settings.load_adapters or policy.kind != "lora" or policy.folder is None:
            raise PolicyError(
                f"policy {policy.label}: {self._settings.url} has no model {name}; load it there, "
                "or set engine.load_adapters for a LoRA, or engine.model for a base model"
            )
        verify_policy(policy)
        folder = str(policy.folder.absolute())
        status = await self._post("load_lora_adapter", {"lora_name": name, "lora_path": folder})
        # A refusal is no failure where it has it by now.
        if status >= 400 and name not in await self._models():
            raise PolicyError(
                f"policy {policy.label}: {self._settings.url} answered {status} when it was to "
                "load it; start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora "
                f"and a --max-lora-rank that is enough, and let it read {folder}"
            )
        self._loaded.add(policy.label)

    async def _models(self) -> set[str]:
        """Names of what it has. Raises `EngineFailed` where it doesn't say."""
        try:
            response = await self._client.get("models")
        except httpx.HTTPError as error:
            raise self._failure(f"does not answer ({type(error).__name__})") from error
        self._check(response)
        try:
            names = {str(model["id"]) for model in response.json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise self._failure("does not list its models; `url` ends in /v1") from error
        self._alive = True
        return names

    async def _post(self, path: str, body: Mapping[str, Any]) -> int:
        """The status that it answered."""
        try:
            return (await self._client.post(path, json=body)).status_code
        except httpx.HTTPError as error:
            raise self._failure(f"does not answer ({type(error).__name__})") from error

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            with suppress(EngineFailed):
                await self._models()

    # Failures

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        status = response.status_code
        if status in _UNUSABLE and response.request.method == "POST":
            raise DataError(
                f"the model's server refuses the dialogue ({status}): it may be too long, or have "
                "turns that its chat template does not take"
            )
        told = f"answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        raise self._failure(told, down=response.is_server_error)

    def _failure(self, what: str, down: bool = True) -> EngineFailed:
        """One line. A server that can't be asked is not alive until it can."""
        self._alive = self._alive and not down
        return EngineFailed(f"{self._settings.url} {what}")


class Reading:
    """An answer as server-sent events: lines to pieces."""

    def __init__(self) -> None:
        self._shown = Shown()
        self._ids: list[int] = []
        self._begun = self._ended = False

    def piece(self, line: str) -> Piece | None:
        """What an event adds, if anything. Raises `EngineFailed` for what is no chunk."""
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]" or self._ended:
            return None
        try:
            chunk = Chunk.model_validate_json(data)
        except ValidationError as error:
            raise EngineFailed("the model's server sent what is no part of an answer") from error
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        self._ids += choice.token_ids or []
        text = self._shown.add(choice.delta.content or "")
        if choice.finish_reason:
            text += self._shown.end()
        elif not text:
            return None
        self._ended = choice.finish_reason is not None
        usage = chunk.usage if not self._begun else None
        ids, self._ids, self._begun = tuple(self._ids), [], True
        return Piece(text, ids, choice.finish_reason, usage.prompt_tokens if usage else None)

    def check_ended(self) -> None:
        if not self._ended:
            raise EngineFailed("the model's server broke off an answer")


def _authorization(key_env: str | None) -> dict[str, str]:
    if key_env is None:
        return {}
    key = os.environ.get(key_env)
    if not key:
        raise EngineFailed(f"engine.key_env: the environment variable {key_env} holds no key")
    return {"Authorization": f"Bearer {key}"}

"""A vLLM server over HTTP, with patience: its models, its adapters, its completions.

Nothing that the server says is quoted in an error: it might repeat a prompt.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from rlhf.errors import StepFailed, UsageError
from rlhf.vllm.replies import read_names

_LONGEST_WAIT_S = 30.0
_CONNECT_S = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where a server is, and how long to wait for it."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float
    retries: int
    backoff_s: float

    @contextmanager
    def open(self) -> Iterator[Server]:
        """Connections for a few requests, as many at once as there are threads."""
        timeout = httpx.Timeout(self.timeout_s, connect=min(_CONNECT_S, self.timeout_s))
        limits = httpx.Limits(max_connections=None)
        with httpx.Client(
            base_url=self.url, headers=self.headers, timeout=timeout, limits=limits
        ) as client:
            yield Server(client, self)


@dataclass(frozen=True)
class Server:
    """One that can be asked now. Raises `StepFailed` when it fails or refuses."""

    client: httpx.Client
    address: Address

    def names(self) -> set[str]:
        """Of the base models and adapters that it has."""
        way_out = "check `url`, which ends in /v1, and `api_key_env`"
        response = self._ask("GET", "models")
        if not response.is_success:
            raise self.failure(f"answered {_status(response)} for its models", way_out)
        try:
            return read_names(response.content)
        except ValueError:
            raise self.failure("does not list its models", way_out) from None

    def load(self, folder: Path, rank: int) -> None:
        """Read an adapter from its folder; it answers to the folder's name from then on."""
        body = {"lora_name": folder.name, "lora_path": str(folder)}
        response = self._ask("POST", "load_lora_adapter", body)
        # A refusal is no failure where another process was quicker, or an answer got lost.
        if response.is_success or folder.name in self.names():
            return
        raise self.failure(
            f"answered {_status(response)} when it was to load a LoRA",
            "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora and "
            f"--max-lora-rank {rank} or more, and let it read {folder}",
        )

    def unload(self, name: str) -> None:
        """Forget an adapter; one that it no longer has is what was wanted."""
        response = self._ask("POST", "unload_lora_adapter", {"lora_name": name})
        if not response.is_success and response.status_code != httpx.codes.NOT_FOUND:
            # It only takes up room, and the server makes room where it has to.
            log.warning("vllm: %s was not unloaded: %s", name, _status(response))

    def complete(self, body: Mapping[str, Any]) -> bytes:
        """The reply to a request for completions, unread."""
        response = self._ask("POST", "completions", body)
        if response.is_success:
            return response.content
        raise self.failure(
            f"answered {_status(response)} to a prompt of {len(body['prompt'])} tokens",
            f"prompt and {body['max_tokens']} new tokens must fit its --max-model-len; its log "
            "says more",
        )

    def failure(self, what: str, way_out: str) -> StepFailed:
        """One line: the server, what it did, and what to do."""
        return StepFailed(f"vllm: {self.address.url} {what}; {way_out}")

    def _ask(
        self, method: Literal["GET", "POST"], path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """The first answer that is no 5xx, or else the last one."""
        response, problem = None, ""
        for attempt in range(self.address.retries + 1):
            if attempt:
                time.sleep(min(self.address.backoff_s * 2 ** (attempt - 1), _LONGEST_WAIT_S))
            try:
                response = self.client.request(method, path, json=body)
            except httpx.RequestError as error:
                response, problem = None, type(error).__name__
                continue
            if not response.is_server_error:
                break
        if response is None:
            raise self.failure(f"does not answer ({problem})", "start it, or correct `url`")
        return response


def _status(response: httpx.Response) -> str:
    """The status in the standard's words."""
    code = response.status_code
    return f"{code} {httpx.codes.get_reason_phrase(code)}".rstrip()


def checked_url(url: str) -> str:
    """Raise `UsageError` for what is no address, or one with a password: messages show it."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise UsageError("vllm: `url` must look like http://localhost:8000/v1, without a password")
    return url.rstrip("/")


def authorization(api_key_env: str | None) -> dict[str, str]:
    """The header with the key that the environment variable holds; none where none is named."""
    if api_key_env is None:
        return {}
    key = os.environ.get(api_key_env)
    if not key:
        raise UsageError(f"vllm: the environment variable {api_key_env} holds no key; set it")
    return {"Authorization": f"Bearer {key}"}

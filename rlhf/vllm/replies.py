"""What a vLLM server is asked for, and what it can answer: everything else is a `ValueError`.

The errors say where a reply goes wrong, and hold nothing of its text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlhf.sampling import Sampling

_LEAST = -9999.0  # what vLLM writes for the log of 0
_ROUNDING = 1e-3  # a log-probability may be above 0 by so much; a logit is by more
_LIKELIEST = 5  # tokens whose spread tells the temperature
_DEEP = 4  # parts of a place in a reply; further down stand the reply's own words

Logprob = Annotated[float, Field(gt=_LEAST, le=_ROUNDING)]


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Name(_Reply):
    id: str


class _Names(_Reply):
    data: list[_Name]


class _Logprobs(_Reply):
    token_logprobs: list[Logprob]


class Choice(_Reply):
    """One answer."""

    index: int
    finish_reason: Literal["stop", "length"]
    token_ids: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    logprobs: _Logprobs


class _Choices(_Reply):
    choices: list[Choice]


class _Candidates(_Reply):
    top_logprobs: list[dict[str, Logprob]] = Field(min_length=1)


class _Probed(_Reply):
    logprobs: _Candidates


class _Probes(_Reply):
    choices: list[_Probed] = Field(min_length=1)


@dataclass(frozen=True)
class Asked:
    """A prompt's token ids, how many answers it wants, and the seed of the first."""

    ids: list[int]
    count: int
    seed: int


@dataclass(frozen=True)
class Shape:
    """What an answer of the policy can look like."""

    ends: frozenset[int]
    """Ids of EOS."""
    vocabulary: int

    def body(self, name: str, asked: Asked, sampling: Sampling) -> dict[str, Any]:
        """A request for completions by the model or adapter of that name."""
        return {
            "model": name,
            "prompt": asked.ids,
            "n": asked.count,
            "seed": asked.seed,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_token_ids": sorted(self.ends),
            "logprobs": 0,  # the drawn token's alone
            "return_token_ids": True,
            # What a request leaves out, vLLM takes from the model's generation_config.json.
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }

    def read(self, content: bytes, count: int, most: int) -> list[Choice]:
        """The `count` answers in order, of at most `most` tokens each."""
        choices = sorted(_parsed(_Choices, content).choices, key=lambda choice: choice.index)
        if [choice.index for choice in choices] != list(range(count)):
            raise ValueError(f"{len(choices)} answers where {count} were asked for, or misnumbered")
        for choice in choices:
            self._check(choice, most)
        return choices

    def _check(self, choice: Choice, most: int) -> None:
        ids, told = choice.token_ids, len(choice.logprobs.token_logprobs)
        if told != len(ids):
            raise ValueError(f"{told} log-probabilities for {len(ids)} tokens")
        if max(ids) >= self.vocabulary:
            raise ValueError(f"token {max(ids)} of a vocabulary of {self.vocabulary}")
        if len(ids) > most:
            raise ValueError(f"{len(ids)} tokens where {most} were asked for")
        if not self.ends.isdisjoint(ids[:-1]):
            raise ValueError("an answer goes on after its EOS")
        # A limit of the server's own would pass for a policy that comes to no end.
        if ids[-1] not in self.ends and (choice.finish_reason == "stop" or len(ids) < most):
            raise ValueError(f"an answer ends after {len(ids)} of {most} tokens without EOS")


def probe(body: dict[str, Any]) -> dict[str, Any]:
    """The request for one token, with the likeliest in its place."""
    # By their ids: as text, several tokens may read the same.
    return body | {"max_tokens": 1, "logprobs": _LIKELIEST, "return_tokens_as_token_ids": True}


def spread(content: bytes) -> float:
    """Nats between the likeliest first token and the least likely of those that were told."""
    told = _parsed(_Probes, content).choices[0].logprobs.top_logprobs[0]
    likeliest = sorted(told.values(), reverse=True)[:_LIKELIEST]  # the drawn one comes with them
    if len(likeliest) < _LIKELIEST:
        raise ValueError(f"{len(likeliest)} of the {_LIKELIEST} likeliest tokens")
    return likeliest[0] - likeliest[-1]


def read_names(content: bytes) -> set[str]:
    """Names in a list of models."""
    return {model.id for model in _parsed(_Names, content).data}


_R = TypeVar("_R", bound=_Reply)


def _parsed(kind: type[_R], content: bytes) -> _R:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"][:_DEEP])) or "reply"
        raise ValueError(f"{where}: {problem['msg']}") from None

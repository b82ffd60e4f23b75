"""What a chunk of OpenAI's stream must look like, as far as it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rlhf.serving.engines import Ended


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class Delta(_Part):
    content: str | None = None


class Choice(_Part):
    delta: Delta
    finish_reason: Ended | None = None
    token_ids: list[Annotated[int, Field(ge=0)]] | None = None


class Usage(_Part):
    prompt_tokens: int = Field(ge=0)


class Chunk(_Part):
    choices: list[Choice]
    usage: Usage | None = None

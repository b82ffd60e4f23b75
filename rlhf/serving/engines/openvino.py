"""OpenVINO GenAI draws, in the engine's process: continuous batching on a processor.

It has one model, and so answers for one policy: the base, or the one whose export `engine.model`
names. Prompts are rendered and texts are cut here, as by the local engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlhf.chat import render
from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.models import ModelSettings, gguf_of, load_tokenizer, locate_base
from rlhf.policies import Policy, check_base
from rlhf.serving.engines import Ended, EngineFailed
from rlhf.serving.engines.text import Answer
from rlhf.serving.engines.wire import Question, Told


@dataclass
class _Row:
    """One answer, and the pipeline's hold of it."""

    handle: Any
    prompt_tokens: int | None
    answer: Answer
    most: int
    drawn: int = 0
    untold: list[int] = field(default_factory=list)


class OneModel:
    """A backend of the worker over a GGUF file or a folder with a converted model."""

    def __init__(self, settings: ModelSettings, model: str | None, start: dict[str, Any]) -> None:
        self._settings, self._named = settings, model
        self._reading, self._writing = load_tokenizer(settings), load_tokenizer(settings)
        self._pipeline = _pipeline(_where(settings, model), start)
        self._window = _window(settings)
        self._ends = frozenset({int(self._writing.eos_token_id)})
        self._label: str | None = None
        self._rows: dict[int, _Row] = {}

    @property
    def idle(self) -> bool:
        return not self._rows

    def turn(self, broke: Callable[[int, Exception], None]) -> list[Told]:
        """A step of the pipeline, and what it gave."""
        try:
            self._pipeline.step()
        except RuntimeError as error:
            failure = EngineFailed(f"the model failed at a step ({type(error).__name__})")
            for number, row in self._rows.items():
                row.handle.cancel()
                broke(number, failure)
            self._rows.clear()
        told = []
        for number, row in list(self._rows.items()):
            news = self._news(number, row)
            if news is not None:
                told.append(news)
        return told

    def _news(self, number: int, row: _Row) -> Told | None:
        text, finish = "", None
        while finish is None and row.handle.can_read():
            for token in row.handle.read()[0].generated_ids:
                piece, finish = self._take(row, token)
                text += piece
                if finish:
                    break
        if finish is None and not text:
            return None
        if finish:
            row.handle.cancel()
            del self._rows[number]
        ids, row.untold, tokens, row.prompt_tokens = row.untold, [], row.prompt_tokens, None
        return Told(number, text, ids, finish, tokens)

    def _take(self, row: _Row, token: int) -> tuple[str, Ended | None]:
        row.drawn += 1
        row.untold.append(token)
        text = row.answer.add(token)
        if token in self._ends or row.answer.stopped:
            return text + row.answer.end(), "stop"
        if row.drawn < row.most:
            return text, None
        rest = row.answer.end()
        return text + rest, "stop" if row.answer.stopped else "length"

    def load(self, policy: Policy) -> Callable[[], None]:
        """Nothing is read: the model is there, and is the policy's or isn't."""
        check_base(self._settings, policy)
        if self._named is None and policy.kind != "base":
            raise PolicyError(
                f"policy {policy.label}: the OpenVINO engine puts no LoRA on a model; export the "
                "policy merged and name the file by engine.model, or use `engine: {kind: local}`"
            )
        if self._label not in (None, policy.label):
            raise UsageError(
                f"engine.model: it answers for policy {self._label}, and can't for "
                f"{policy.label} too; start the service again with that policy's export"
            )

        def put() -> None:
            self._label = policy.label

        return put

    def drop(self, label: str) -> None:
        if self._label == label:
            self._label = None

    def asked(self, question: Question) -> Callable[[], None]:
        prompt = render(self._reading, question.messages, question.style)
        if len(prompt) >= self._window:
            raise DataError(
                f"the prompt has {len(prompt)} tokens, and the model reads {self._window} with "
                "its answer; shorten it"
            )
        return lambda: self._begin(question, prompt)

    def cancel(self, number: int) -> None:
        row = self._rows.pop(number, None)
        if row is not None:
            row.handle.cancel()

    def _begin(self, question: Question, prompt: list[int]) -> None:
        import openvino

        if question.policy != self._label:
            raise EngineFailed(f"policy {question.policy} is not at hand")
        most = min(question.sampling.max_new_tokens, self._window - len(prompt))
        ids = openvino.Tensor(np.array([prompt], dtype=np.int64))
        handle = self._pipeline.add_request(question.number, ids, self._config(question, most))
        answer = Answer(self._writing, question.stop)
        self._rows[question.number] = _Row(handle, len(prompt), answer, most)

    def _config(self, question: Question, most: int) -> Any:
        import openvino_genai

        config, sampling = openvino_genai.GenerationConfig(), question.sampling
        config.max_new_tokens = most
        config.stop_token_ids = set(self._ends)
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            config.rng_seed = question.seed
        return config


def _where(settings: ModelSettings, model: str | None) -> Path:
    if model is not None:
        if not Path(model).exists():
            raise UsageError(f"engine.model: {model} does not exist; name a folder or GGUF file")
        return Path(model)
    found = gguf_of(settings.base_model)
    if found is None:
        raise UsageError(
            f"engine.model: {settings.base_model} is no GGUF file; name one, or a folder with a "
            "model converted for OpenVINO"
        )
    return found


def _pipeline(where: Path, start: dict[str, Any]) -> Any:
    try:
        import openvino_genai
    except ImportError as error:
        raise UsageError("engine: openvino needs `pip install openvino-genai`") from error
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_seqs = start["batch_size"]
    properties = {} if start["threads"] is None else {"INFERENCE_NUM_THREADS": start["threads"]}
    try:
        return openvino_genai.ContinuousBatchingPipeline(str(where), scheduler, "CPU", properties)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UsageError(f"engine.model: OpenVINO can't open {where}: {reason}") from error


def _window(settings: ModelSettings) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        locate_base(settings.base_model), trust_remote_code=settings.trust_remote_code
    )
    return int(config.get_text_config().max_position_embeddings)

"""A policy that a vLLM server speaks for: the `Sampler` of machines with a GPU.

The server holds the base model, and gets the policy's LoRA through a folder that both can read:

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank 16 \\
        --generation-config vllm --logprobs-mode processed_logprobs

Log-probabilities have to be those that the tokens were drawn by. By default vLLM tells them before
temperature and top_p (`raw_logprobs`, see `logprobs_mode` in its engine arguments): the same at
temperature 1 and top_p 1, and wrong elsewhere. So elsewhere the server is tried first, and refused
unless its log-probabilities follow the temperature. Greedy ones are told at temperature 1 always.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from rlhf.chat import render
from rlhf.errors import StepFailed, UsageError
from rlhf.files import content_id
from rlhf.policies import save_policy
from rlhf.sampling import Completion, Prompt, Sampling, ends_of
from rlhf.vllm.replies import Asked, Choice, Shape, probe, spread
from rlhf.vllm.server import Address, Server, authorization, checked_url


class VllmSampler:
    """Draws by the adapter `default` of `model`, as it is whenever `sample` is called.

    `url` is the server's base, such as http://localhost:8000/v1, and `base_name` the name that it
    serves the base model by. `adapters` is a folder that both see at the same path; processes of
    one run may share it. A seed fixes what is said as far as the server's numbers are fixed
    (VLLM_BATCH_INVARIANT=1). Raises `StepFailed` when the server fails, or says what cannot be.
    """

    def __init__(
        self,
        url: str,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        adapters: Path,
        base_name: str,
        api_key_env: str | None = None,
        *,
        timeout_s: float = 600.0,
        retries: int = 3,
        backoff_s: float = 1.0,
    ) -> None:
        if not isinstance(model, PeftModel):
            raise UsageError(
                "vllm: the policy has no LoRA, and the server can be given nothing else; "
                "start from the base or from a policy with a LoRA"
            )
        self.model = model
        self.tokenizer = tokenizer
        self._address = Address(
            checked_url(url), authorization(api_key_env), timeout_s, retries, backoff_s
        )
        self._adapters = adapters.absolute()
        self._base_name = base_name
        vocabulary = int(model.config.get_text_config().vocab_size)
        self._shape = Shape(ends_of(model, tokenizer), vocabulary)
        self._published: Path | None = None
        self._follows_temperature = False

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        """Equal prompts beside each other are one request; `batch_size` requests go at once."""
        if not prompts:
            return []
        asked = self._asked(prompts, seed)
        workers = min(len(asked), sampling.batch_size)
        with self._address.open() as server, ThreadPoolExecutor(workers) as pool:
            name = self._publish(server)
            self._check_mode(server, name, asked[0], sampling)
            drawn = list(pool.map(lambda a: self._drawn(server, name, a, sampling), asked))
        return [self._completion(choice) for choices in drawn for choice in choices]

    def publish(self) -> str:
        """Give the server the adapter as it is now; returns the name that it answers to."""
        with self._address.open() as server:
            return self._publish(server)

    def close(self) -> None:
        """Take the adapter from the server, and its folder away."""
        if self._published is not None:
            with self._address.open() as server:
                self._withdraw(server, self._published)
            self._published = None

    # The adapter

    def _publish(self, server: Server) -> str:
        """Nothing is sent where the server has this adapter already, by whichever process.

        A name stands for one content: vLLM keeps what it computed for prompts by the adapter's
        name, and other weights under that name would meet it (vllm#42125).
        """
        folder = self._saved()
        names = server.names()
        if self._base_name not in names:
            raise server.failure(
                f"does not serve {self._base_name}",
                f"start it with that model, or with --served-model-name {self._base_name}",
            )
        # The earlier one first: a server has room for one adapter unless told otherwise.
        if self._published is not None and self._published != folder:
            self._withdraw(server, self._published)
        self._published = folder
        if folder.name not in names:
            server.load(folder, rank=self.model.peft_config["default"].r)
        return folder.name

    def _saved(self) -> Path:
        """The adapter's folder, named by its content."""
        try:
            self._adapters.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".publishing-", dir=self._adapters) as aside:
                written = Path(aside) / "adapter"
                base = self._base_name
                policy = save_policy(self.model, self.tokenizer, written, base_model=base, about={})
                folder = self._adapters / f"rlhf-{policy.id}"
                _let_all_read(written)
                _place(written, folder)
        except OSError as error:
            raise StepFailed(
                f"vllm: {self._adapters} could not be written ({error.strerror}); "
                "free the disk, or name another folder"
            ) from error
        return folder

    def _withdraw(self, server: Server, folder: Path) -> None:
        # Only then the folder: the server may read it again as long as it has the adapter.
        server.unload(folder.name)
        shutil.rmtree(folder, ignore_errors=True)

    # The answers

    def _asked(self, prompts: Sequence[Prompt], seed: int) -> list[Asked]:
        """One for each run of equal prompts.

        vLLM counts a request's seed up for each of its answers; hashes keep the requests apart.
        """
        runs = [(prompt, len(list(same))) for prompt, same in groupby(prompts)]
        return [
            Asked(
                render(self.tokenizer, prompt.messages, prompt.style),
                count,
                seed=int(content_id([seed, place]), 16),
            )
            for place, (prompt, count) in enumerate(runs)
        ]

    def _drawn(self, server: Server, name: str, asked: Asked, sampling: Sampling) -> list[Choice]:
        """Every answer to one prompt."""
        # Greedy answers are all the same, and vLLM refuses to give several.
        greedy = sampling.temperature == 0
        count = 1 if greedy else asked.count
        content = server.complete(self._shape.body(name, replace(asked, count=count), sampling))
        try:
            choices = self._shape.read(content, count, sampling.max_new_tokens)
        except ValueError as error:
            raise _unusable(server, error) from None
        return choices * asked.count if greedy else choices

    def _check_mode(self, server: Server, name: str, asked: Asked, sampling: Sampling) -> None:
        """Once, where it matters: are log-probabilities told as tokens are drawn?

        Twice the temperature halves the distances between them, or they were told without it.
        """
        either = sampling.temperature == 0 or (sampling.temperature == 1 and sampling.top_p == 1)
        if self._follows_temperature or either:
            return
        once = replace(asked, count=1)
        bodies = [self._shape.body(name, once, Sampling(temperature=t)) for t in (1.0, 2.0)]
        try:
            cold, hot = (spread(server.complete(probe(body))) for body in bodies)
        except ValueError as error:
            raise _unusable(server, error) from None
        if hot >= 0.75 * cold:
            raise server.failure(
                "tells log-probabilities from before temperature and top_p",
                "start it with --logprobs-mode processed_logprobs, or sample at temperature 1 and "
                "top_p 1",
            )
        self._follows_temperature = True

    def _completion(self, choice: Choice) -> Completion:
        """As a sampler in this process would tell it."""
        ids = choice.token_ids
        text = str(self.tokenizer.decode(ids, skip_special_tokens=True))
        stopped = ids[-1] in self._shape.ends
        logprobs = tuple(choice.logprobs.token_logprobs)
        return Completion(text.strip(), tuple(ids), "stop" if stopped else "length", logprobs)


def _unusable(server: Server, error: ValueError) -> StepFailed:
    return server.failure(
        f"gave an answer that cannot be used ({error})",
        "it must be vLLM 0.10.2 or later, hold the run's base model, and be started with "
        "--logprobs-mode processed_logprobs and --generation-config vllm",
    )


def _let_all_read(folder: Path) -> None:
    """The server may run as another user."""
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)


def _place(written: Path, folder: Path) -> None:
    """Move it to its name, unless the same content is there: another process may be reading it."""
    try:
        written.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise

"""The vLLM sampler against a real server that speaks vLLM's protocol over a tiny model."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from rlhf.errors import StepFailed, UsageError
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.packed import Engine, Group
from rlhf.policies import LoraSettings, add_lora
from rlhf.sampling import Completion, LocalSampler, Prompt, Sampling
from rlhf.vllm import VllmSampler

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"  # peft asks for it
)

EOS = 1
BASE = "org/base"
TEXTS = ["hello", "a much longer question than the first one", "q", "why is the sky blue?"]
PROMPTS = [Prompt(({"role": "user", "content": t},)) for t in TEXTS]


class VllmServer(ThreadingHTTPServer):
    """Models, adapters and completions as vLLM gives them; it has room for one adapter."""

    def __init__(self, base: PreTrainedModel, tokenizer: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.base, self.tokenizer = base, tokenizer
        self.mode = "processed_logprobs"
        self.served: dict[str, Any] = {}  # names that requests may use
        self.in_memory: list[str] = []  # adapters that take up room
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self.statuses: dict[str, list[int]] = {}  # of the next answers at a path; 0 hangs up
        self.tamper: Callable[[dict[str, Any]], Any] = lambda reply: reply
        self.lock = threading.Lock()
        self.pause_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that would not wait has gone."""

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body, _ in self.asked if asked == f"/v1/{path}"]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match path:
            case "/v1/models":
                return 200, {"object": "list", "data": [{"id": n} for n in [BASE, *self.served]]}
            case "/v1/load_lora_adapter":
                return self.load(body["lora_name"], body["lora_path"])
            case "/v1/unload_lora_adapter":
                return self.unload(body["lora_name"])
            case "/v1/completions" if body["model"] in self.served:
                return self.complete(body)
        return 404, {"error": {"message": f"{path} does not exist", "code": 404}}

    def load(self, name: str, path: str) -> tuple[int, Any]:
        if name in self.served:
            return 400, {"error": {"message": f"'{name}' has already been loaded"}}
        if not (Path(path) / "adapter_config.json").is_file():
            return 404, {"error": {"message": f"No adapter found for {path}"}}
        model = PeftModel.from_pretrained(copy.deepcopy(self.base), path).eval()
        self.in_memory = [name]
        self.served[name] = model
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, name: str) -> tuple[int, Any]:
        if name not in self.served:
            return 404, {"error": {"message": f"'{name}' cannot be found"}}
        if name not in self.in_memory:
            return 500, {"error": {"message": f"Failed to remove '{name}' from the engine"}}
        self.in_memory.remove(name)
        del self.served[name]
        return 200, f"Success: LoRA adapter '{name}' removed successfully."

    def complete(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["temperature"] == 0 and body["n"] > 1:
            return 400, {"error": {"message": "n must be 1 when using greedy sampling"}}
        choices = [self.choice(body, i) for i in range(body["n"])]
        return 200, self.tamper({"object": "text_completion", "choices": choices})

    def choice(self, body: dict[str, Any], index: int) -> dict[str, Any]:
        """vLLM counts the seed up for each of a request's answers."""
        model, ids = self.served[body["model"]], body["prompt"]
        sampling = Sampling(body["max_tokens"], body["temperature"], body["top_p"])
        generator = torch.Generator().manual_seed(body["seed"] + index)
        drawn = LocalSampler(model, self.tokenizer)._decode([ids], sampling, generator)[0]
        told = self.told(model, ids, drawn, sampling.temperature or 1.0)
        return {
            "index": index,
            "text": self.tokenizer.decode(drawn, skip_special_tokens=True),
            "finish_reason": "stop" if drawn[-1] == EOS else "length",
            "token_ids": drawn,
            "logprobs": {
                "token_logprobs": [float(row[t]) for row, t in zip(told, drawn, strict=True)],
                "top_logprobs": [
                    {f"token_id:{i}": float(row[i]) for i in [t, *best(row, body["logprobs"])]}
                    for row, t in zip(told, drawn, strict=True)
                ],
            },
        }

    @torch.no_grad()
    def told(self, model: Any, ids: list[int], drawn: list[int], temperature: float) -> Any:
        """What `--logprobs-mode` makes of the logits that each token was drawn by."""
        logits = model(input_ids=torch.tensor([ids + drawn])).logits[0, len(ids) - 1 : -1]
        kind, _, what = self.mode.partition("_")
        scaled = logits / temperature if kind == "processed" else logits
        return scaled if what == "logits" else scaled.log_softmax(-1)


def best(row: Any, count: int) -> list[int]:
    return [int(i) for i in row.topk(count).indices]


class Handler(BaseHTTPRequestHandler):
    server: VllmServer

    def do_GET(self) -> None:
        self.reply({})

    def do_POST(self) -> None:
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, body: dict[str, Any]) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, body, self.headers["Authorization"]))
            statuses = self.server.statuses.get(self.path.removeprefix("/v1/"), [])
            status = statuses.pop(0) if statuses else None
            content: Any = {"error": {"message": f"no, not {body.get('prompt')}"}}
            if status is None:
                status, content = self.server.answer(self.path, body)
        time.sleep(self.server.pause_s)
        if status == 0:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def settings(tiny_model: Path) -> ModelSettings:
    return ModelSettings(base_model=str(tiny_model), dtype="float32")


@pytest.fixture(scope="module")
def base(settings: ModelSettings) -> PreTrainedModel:
    """The tiny model with larger weights: as it is, all tokens are about as likely."""
    model = load_base(settings)
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@contextmanager
def served(settings: ModelSettings, base: PreTrainedModel) -> Iterator[VllmServer]:
    server = VllmServer(base, load_tokenizer(settings))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(settings: ModelSettings, base: PreTrainedModel) -> Iterator[VllmServer]:
    with served(settings, base) as server:
        yield server


def move(policy: Any, seed: int) -> None:
    """Other weights for the adapter."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in policy.named_parameters():
        if ".default." in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)


def make_policy(base: PreTrainedModel) -> Any:
    policy = add_lora(copy.deepcopy(base), LoraSettings(r=4, alpha=8, dropout=0.0), 0)
    move(policy, 0)
    return policy.eval()


@pytest.fixture
def policy(base: PreTrainedModel) -> Any:
    return make_policy(base)


@pytest.fixture
def sampler(server: VllmServer, policy: Any, tmp_path: Path) -> VllmSampler:
    folder = tmp_path / "shared"
    return VllmSampler(
        server.url, policy, server.tokenizer, folder, BASE, retries=2, backoff_s=0.001
    )


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    turns = [dict(m) for m in prompt.messages]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    return [int(i) for i in ids]


def check_against_engine(
    sampler: VllmSampler,
    prompts: list[Prompt],
    drawn: list[Completion],
    temperature: float,
) -> None:
    """Each answer's log-probabilities are those of its own prompt under the policy here."""
    groups = [
        Group(prompt_ids(sampler.tokenizer, p), [c.token_ids])
        for p, c in zip(prompts, drawn, strict=True)
    ]
    engine = Engine(sampler.model)
    with torch.no_grad(), engine.on():
        scores = engine.score(groups, temperature=temperature)
    told = torch.tensor([p for c in drawn for p in c.logprobs or ()])
    torch.testing.assert_close(told, scores.logprobs.float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.3])
def test_log_probabilities_are_the_policys_at_the_temperature(
    sampler: VllmSampler, temperature: float
) -> None:
    drawn = sampler.sample(PROMPTS, Sampling(12, temperature=temperature), seed=0)
    check_against_engine(sampler, PROMPTS, drawn, temperature)


def test_greedy_answers_are_those_of_the_policy_in_this_process(
    sampler: VllmSampler, policy: Any
) -> None:
    prompts = [p for p in PROMPTS for _ in range(2)]
    sampling = Sampling(16, temperature=0)
    drawn = sampler.sample(prompts, sampling, seed=0)
    local = LocalSampler(policy, sampler.tokenizer).sample(prompts, sampling, seed=0)
    for there, here in zip(drawn, local, strict=True):
        assert (there.token_ids, there.text) == (here.token_ids, here.text)
        assert there.finish_reason == here.finish_reason
    check_against_engine(sampler, prompts, drawn, 1.0)


def test_answers_come_in_the_order_of_the_prompts(sampler: VllmSampler, server: VllmServer) -> None:
    server.tamper = lambda reply: {"choices": reply["choices"][::-1]}  # they carry their place
    a, b, c, _ = PROMPTS
    prompts = [a, a, a, b, c, c, a]
    drawn = sampler.sample(prompts, Sampling(8, batch_size=3), seed=4)
    check_against_engine(sampler, prompts, drawn, 1.0)
    asked = server.bodies("completions")
    assert sorted(body["n"] for body in asked) == [1, 1, 2, 3]
    assert len({body["seed"] for body in asked}) == 4
    assert len({completion.token_ids for completion in drawn[:3] + drawn[6:]}) == 4
    first = next(body for body in asked if body["n"] == 3)
    for place, completion in enumerate(drawn[:3]):
        assert list(completion.token_ids) == server.choice(first, place)["token_ids"]


def test_the_seed_decides(sampler: VllmSampler) -> None:
    sampling = Sampling(8)
    first = sampler.sample(PROMPTS, sampling, seed=5)
    assert first == sampler.sample(PROMPTS, sampling, seed=5)
    assert first != sampler.sample(PROMPTS, sampling, seed=6)


def test_nothing_is_asked_for_no_prompts(sampler: VllmSampler, server: VllmServer) -> None:
    assert sampler.sample([], Sampling(), seed=0) == []
    assert server.asked == []


def test_an_answer_keeps_its_eos(sampler: VllmSampler) -> None:
    drawn = sampler.sample(PROMPTS[:1] * 24, Sampling(40, temperature=1.5), seed=1)
    assert {c.finish_reason for c in drawn} == {"stop", "length"}
    for completion in drawn:
        assert EOS not in completion.token_ids[:-1]
        assert (completion.token_ids[-1] == EOS) == (completion.finish_reason == "stop")
        assert len(completion.token_ids) == 40 or completion.finish_reason == "stop"
        assert len(completion.logprobs or ()) == len(completion.token_ids)
        assert "<eos>" not in completion.text
        assert completion.text == completion.text.strip()


def test_a_request_leaves_nothing_to_the_servers_own_settings(
    sampler: VllmSampler, server: VllmServer
) -> None:
    sampler.sample(PROMPTS[:1], Sampling(3), seed=0)
    (body,) = server.bodies("completions")
    assert body["prompt"] == prompt_ids(sampler.tokenizer, PROMPTS[0])
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (3, 1.0, 1.0)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.0, 0.0)
    assert body["stop_token_ids"] == [EOS]


# The adapter


def test_a_changed_adapter_reaches_the_server_and_takes_the_earlier_ones_place(
    sampler: VllmSampler, server: VllmServer, policy: Any, tmp_path: Path
) -> None:
    sampling = Sampling(12)
    before = sampler.sample(PROMPTS, sampling, seed=0)
    (first,) = server.served
    assert sampler.sample(PROMPTS, sampling, seed=0) == before
    assert len(server.bodies("load_lora_adapter")) == 1
    move(policy, 1)
    after = sampler.sample(PROMPTS, sampling, seed=0)
    assert after != before
    check_against_engine(sampler, PROMPTS, after, 1.0)
    (second,) = server.served
    assert second != first and len(second) == len(first)
    assert [p.name for p in (tmp_path / "shared").iterdir()] == [second]
    assert server.bodies("unload_lora_adapter") == [{"lora_name": first}]


def test_the_folder_can_be_read_by_other_users(sampler: VllmSampler, tmp_path: Path) -> None:
    folder = tmp_path / "shared" / sampler.publish()
    assert folder.stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())


def test_a_server_that_was_started_anew_gets_the_adapter_again(
    sampler: VllmSampler, server: VllmServer, policy: Any
) -> None:
    name = sampler.publish()
    server.served.clear()
    assert sampler.publish() == name
    server.served.clear()
    move(policy, 1)
    assert sampler.publish() in server.served


def test_two_processes_share_one_adapter(
    sampler: VllmSampler, server: VllmServer, policy: Any, tmp_path: Path
) -> None:
    other = VllmSampler(server.url, policy, server.tokenizer, tmp_path / "shared", BASE)
    for seed in range(2):
        move(policy, seed)
        assert sampler.publish() == other.publish()
        assert len(server.served) == 1
    assert len(server.bodies("load_lora_adapter")) == 2


def test_a_load_whose_answer_got_lost_counts(sampler: VllmSampler, server: VllmServer) -> None:
    load = server.load

    def lost(name: str, path: str) -> tuple[int, Any]:
        load(name, path)
        return 500, {}

    server.load = lost if not server.served else load  # type: ignore[method-assign]
    assert sampler.publish() in server.served


def test_close_leaves_nothing_behind(
    sampler: VllmSampler, server: VllmServer, tmp_path: Path
) -> None:
    sampler.publish()
    sampler.close()
    sampler.close()
    assert server.served == {}
    assert list((tmp_path / "shared").iterdir()) == []


# Log-probabilities from before the temperature


@pytest.mark.parametrize("mode", ["raw_logprobs", "raw_logits"])
@pytest.mark.parametrize("sampling", [Sampling(4, temperature=0.7), Sampling(4, top_p=0.9)])
def test_raw_numbers_are_refused_where_they_are_wrong(
    sampler: VllmSampler, server: VllmServer, mode: str, sampling: Sampling
) -> None:
    server.mode = mode
    with pytest.raises(StepFailed, match="--logprobs-mode processed_logprobs"):
        sampler.sample(PROMPTS, sampling, seed=0)


def test_raw_log_probabilities_will_do_at_temperature_1(
    sampler: VllmSampler, server: VllmServer
) -> None:
    server.mode = "raw_logprobs"
    drawn = sampler.sample(PROMPTS, Sampling(8), seed=0)
    check_against_engine(sampler, PROMPTS, drawn, 1.0)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logits_are_no_log_probabilities(
    sampler: VllmSampler, server: VllmServer, temperature: float
) -> None:
    server.mode = "processed_logits"
    with pytest.raises(StepFailed, match="less than or equal to 0"):
        sampler.sample(PROMPTS, Sampling(8, temperature=temperature), seed=0)


def test_the_server_is_tried_once(sampler: VllmSampler, server: VllmServer) -> None:
    for seed in range(2):
        sampler.sample(PROMPTS[:1], Sampling(4, temperature=0.7), seed=seed)
    asked = server.bodies("completions")
    assert [body["temperature"] for body in asked] == [1.0, 2.0, 0.7, 0.7]


# A server that fails


@pytest.mark.parametrize("path", ["models", "load_lora_adapter", "completions"])
@pytest.mark.parametrize("status", [503, 0])
def test_a_short_failure_is_waited_out(
    sampler: VllmSampler, server: VllmServer, path: str, status: int
) -> None:
    server.statuses[path] = [status, status]
    drawn = sampler.sample(PROMPTS[:1], Sampling(8), seed=0)
    check_against_engine(sampler, PROMPTS[:1], drawn, 1.0)


def failure_of(sampler: VllmSampler) -> str:
    """One line that names the server and quotes neither prompt nor answer."""
    with pytest.raises(StepFailed) as caught:
        sampler.sample(PROMPTS[3:], Sampling(8), seed=0)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"vllm: {sampler._address.url} ")
    assert "sky" not in message and str(prompt_ids(sampler.tokenizer, PROMPTS[3])) not in message
    return message


@pytest.mark.parametrize(
    ("path", "status", "way_out"),
    [
        ("models", 401, "check `url`, which ends in /v1, and `api_key_env`"),
        ("models", 307, "check `url`"),
        ("load_lora_adapter", 404, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        ("load_lora_adapter", 500, "--max-lora-rank 4 or more, and let it read /"),
        ("completions", 400, "must fit its --max-model-len"),
        ("completions", 500, "500 Internal Server Error"),
        ("completions", 0, "does not answer (RemoteProtocolError); start it"),
    ],
)
def test_a_lasting_failure_names_the_way_out(
    sampler: VllmSampler, server: VllmServer, path: str, status: int, way_out: str
) -> None:
    server.statuses[path] = [status] * 3
    assert way_out in failure_of(sampler)


def test_a_server_that_is_not_there(sampler: VllmSampler, server: VllmServer) -> None:
    server.server_close()
    assert "does not answer (ConnectError); start it" in failure_of(sampler)


def test_a_server_that_takes_too_long(server: VllmServer, policy: Any, tmp_path: Path) -> None:
    server.pause_s = 0.3
    hasty = VllmSampler(
        server.url, policy, server.tokenizer, tmp_path, BASE, timeout_s=0.05, retries=0
    )
    assert "does not answer (ReadTimeout)" in failure_of(hasty)


def test_a_server_of_another_model(server: VllmServer, policy: Any, tmp_path: Path) -> None:
    other = VllmSampler(server.url, policy, server.tokenizer, tmp_path, "other")
    assert "does not serve other; start it with that model" in failure_of(other)


def test_a_folder_that_cannot_be_written(server: VllmServer, policy: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sampler = VllmSampler(server.url, policy, server.tokenizer, tmp_path / "file", BASE)
    with pytest.raises(StepFailed, match=r"could not be written .*name another folder"):
        sampler.publish()


def test_an_unload_that_fails_only_takes_up_room(
    sampler: VllmSampler, server: VllmServer, policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = sampler.publish()
    server.in_memory.clear()
    move(policy, 1)
    assert sampler.publish() != first
    assert f"{first} was not unloaded: 500" in caplog.text


def test_the_key_is_sent(
    server: VllmServer, policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    VllmSampler(server.url, policy, server.tokenizer, tmp_path, BASE, "MY_KEY").publish()
    assert {key for _, _, key in server.asked} == {"Bearer secret"}


def test_what_is_wrong_from_the_start(
    server: VllmServer, policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(UsageError, match="MY_KEY holds no key"):
        VllmSampler(server.url, policy, server.tokenizer, tmp_path, BASE, "MY_KEY")
    for url in (
        "localhost:8000",
        "http://",
        "http://me:secret@host/v1",
        "http://\x00",
        "file:///x",
    ):
        with pytest.raises(UsageError, match="must look like") as caught:
            VllmSampler(url, policy, server.tokenizer, tmp_path, BASE)
        assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="no LoRA"):
        VllmSampler(server.url, server.base, server.tokenizer, tmp_path, BASE)


# Answers that cannot be


@pytest.fixture(scope="module")
def standing(
    settings: ModelSettings, base: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[VllmServer, VllmSampler]]:
    """A server that is lied with in many ways, and has the adapter already."""
    folder = tmp_path_factory.mktemp("shared")
    with served(settings, base) as server:
        yield server, VllmSampler(server.url, make_policy(base), server.tokenizer, folder, BASE)


def changed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    """The first answer with other values; None takes a value away."""

    def tamper(reply: dict[str, Any]) -> Any:
        choice = reply["choices"][0] | changes
        reply["choices"][0] = {k: v for k, v in choice.items() if v is not None}
        return reply

    return tamper


def logprobs(*values: Any) -> dict[str, Any]:
    return {"token_logprobs": list(values)}


FOUR = logprobs(-1.0, -1.0, -1.0, -1.0)


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (lambda _: b"The sky is", "reply: Invalid JSON"),
        (lambda _: b"\xff\xfe", "reply: Invalid JSON"),
        (lambda _: b"[" * 100_000, "reply: Invalid JSON"),
        (lambda _: [], "reply: Input should be an object"),
        (lambda _: {"error": "the sky"}, "choices: Field required"),
        (lambda r: {"choices": []}, "0 answers"),
        (lambda r: {"choices": r["choices"] * 2}, "2 answers"),
        (changed(index=1), "1 answers"),
        (changed(index="the sky"), "choices.0.index: Input should be a valid integer"),
        (changed(logprobs=None), "choices.0.logprobs: Field required"),
        (changed(token_ids=None), "choices.0.token_ids: Field required"),
        (changed(token_ids=[]), "at least 1 item"),
        (changed(token_ids=[5, 6, "sky", 7]), "choices.0.token_ids.2: Input should be a valid int"),
        (changed(token_ids=[5, 6, True, 7]), "valid integer"),
        (changed(token_ids=[5, 6, -1, 7]), "greater than or equal to 0"),
        (changed(token_ids=[5, 6, 900, 7], logprobs=FOUR), "token 900 of a vocabulary of 259"),
        (changed(token_ids=[5, 6, 7], logprobs=FOUR), "4 log-probabilities for 3 tokens"),
        (changed(token_ids=[5] * 5, logprobs=logprobs(*[-1.0] * 5)), "5 tokens where 4"),
        (changed(token_ids=[5, EOS, 6, 7], logprobs=FOUR), "goes on after its EOS"),
        (changed(token_ids=[5], logprobs=logprobs(-1.0)), "ends after 1 of 4 tokens"),
        (changed(token_ids=[5] * 4, logprobs=FOUR, finish_reason="stop"), "without EOS"),
        (changed(finish_reason="abort"), "Input should be 'stop' or 'length'"),
        (changed(finish_reason=None), "finish_reason: Field required"),
        (changed(logprobs=logprobs(-1.0, float("nan"), -1.0, -1.0)), "finite number"),
        (changed(logprobs=logprobs(-1.0, float("-inf"), -1.0, -1.0)), "finite number"),
        (changed(logprobs=logprobs(-1.0, -9999.0, -1.0, -1.0)), "greater than -9999"),
        (changed(logprobs=logprobs(-1.0, 3.5, -1.0, -1.0)), "less than or equal to 0.001"),
        (changed(logprobs=logprobs(-1.0, None, -1.0, -1.0)), "valid number"),
        (changed(logprobs=logprobs(-1.0, "the sky", -1.0, -1.0)), "valid number"),
    ],
)
def test_answers_that_cannot_be_are_refused(
    standing: tuple[VllmServer, VllmSampler], tamper: Callable[[Any], Any], why: str
) -> None:
    server, sampler = standing
    server.tamper = tamper
    with pytest.raises(StepFailed, match="cannot be used") as caught:
        sampler.sample(PROMPTS[3:], Sampling(4), seed=0)
    message = str(caught.value)
    assert why in message and "\n" not in message and server.url in message
    assert "sky" not in message


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"top_logprobs": []},
        {"top_logprobs": [None]},
        {"top_logprobs": [{"sky": -1.0}]},
        {"top_logprobs": [{"sky": 2.0}]},
    ],
)
def test_a_trial_that_cannot_be_read_is_refused(
    standing: tuple[VllmServer, VllmSampler], told: Any
) -> None:
    server, sampler = standing
    server.tamper = changed(logprobs=told)
    with pytest.raises(StepFailed, match="cannot be used") as caught:
        sampler.sample(PROMPTS[:1], Sampling(4, temperature=0.5), seed=0)
    assert "sky" not in str(caught.value)


@pytest.mark.parametrize("reply", [b"the sky", {"data": [{"name": "the sky"}]}, {"data": None}])
def test_a_server_that_lists_no_models(
    sampler: VllmSampler, server: VllmServer, reply: Any
) -> None:
    server.answer = lambda path, body: (200, reply)  # type: ignore[method-assign]
    assert "does not list its models; check `url`" in failure_of(sampler)

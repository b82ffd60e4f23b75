"""What `rlhf doctor` counts, estimates and advises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
)

from rlhf.doctor.advice import Option, Way, recommend, span
from rlhf.doctor.estimate import Duration, Memory, memory
from rlhf.doctor.live_bytes import live_bytes
from rlhf.doctor.parameters import Parameters, Recipe, parameters
from rlhf.doctor.probe import Probe, probe
from rlhf.doctor.stages import planned
from rlhf.doctor.workload import tokens_of, workload
from rlhf.packed import Group
from rlhf.policies import LoraSettings
from rlhf.training.settings import RewardModelSettings, SftSettings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

Command = Callable[..., tuple[int, str, str]]

_SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = [
    LlamaConfig(**_SHAPE, tie_word_embeddings=True),
    Qwen2Config(**_SHAPE, tie_word_embeddings=False),
    Gemma3TextConfig(**_SHAPE, head_dim=8, sliding_window=16),
]
_ALL = ("q_proj", "v_proj", "down_proj")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.model_type)
def test_counts_are_those_of_the_loaded_model(config: PretrainedConfig) -> None:
    lora = LoraSettings(r=4, target_modules=_ALL)
    model = AutoModelForCausalLM.from_config(config)
    total = sum(p.numel() for p in model.parameters())

    full = parameters(config, Recipe(None))
    found = parameters(config, Recipe(lora))

    assert full.total == full.trainable == total
    assert full.head == model.get_output_embeddings().weight.numel()
    assert full.layer == sum(p.numel() for p in model.model.layers[0].parameters())
    given = LoraConfig(r=4, target_modules=list(_ALL), task_type="CAUSAL_LM")
    assert (found.trainable, found.total) == get_peft_model(
        model, given
    ).get_nb_trainable_parameters()


def test_live_bytes_counts_what_is_held_and_no_view_of_a_weight() -> None:
    weight = torch.zeros(1000)
    with live_bytes() as held:
        first = weight.view(10, 100) + 1  # 4,000 bytes
        second = first * 2
        del first
        third = second.t()
        del second
        assert held.now == 4000
        del third
    assert (held.now, held.most) == (0, 8000)


def _probed(config: PretrainedConfig, recipe: Recipe, tokens: int) -> Probe:
    half = list(range(tokens // 2))
    groups = [Group([i % 61 for i in half], [[i % 61 for i in half]])]
    return probe(config, recipe, parameters(config, recipe), groups)


def test_the_probe_of_a_few_layers_tells_what_all_hold() -> None:
    """Against the whole model, its own layers counted while it trains."""
    from rlhf.doctor.probe import _Trial

    config = LlamaConfig(**{**_SHAPE, "num_hidden_layers": 9})
    for recipe in (Recipe(LoraSettings(r=4)), Recipe(None), Recipe(LoraSettings(), True)):
        groups = [Group(list(range(40)), [list(range(60))])]
        found = probe(config, recipe, parameters(config, recipe), groups)
        estimated = found.around_bytes + 9 * found.layer_bytes * 100
        assert estimated == pytest.approx(_Trial(config, recipe).bytes(groups), rel=0.03)
        assert min(found.train_s, found.forward_s, found.step_s) > 0


def test_an_adapter_on_some_numbered_layers_is_counted_there_and_tried_on_few() -> None:
    config = LlamaConfig(**{**_SHAPE, "num_hidden_layers": 9})
    names = ("8.self_attn.q_proj", "layers.7.mlp.up_proj")
    recipe = Recipe(LoraSettings(r=4, target_modules=names))
    counts = parameters(config, recipe)
    assert counts.trainable == 4 * (32 + 32) + 4 * (32 + 64)
    found = probe(config, recipe, counts, [Group([1, 2], [[3, 4]])])
    assert min(found.train_s, found.forward_s, found.step_s) > 0


def test_a_reward_models_folds_are_planned_each_without_its_part(
    here: Path, tiny_model: Path
) -> None:
    rows = [{"prompt": f"User: {i}?", "chosen": "yes", "rejected": "no"} for i in range(60)]
    (here / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    values = {
        "stage": "reward_model",
        "base_model": str(tiny_model),
        "data": {"path": "pairs.jsonl", "held_out": 0.2},
        "folds": 3,
    }
    whole, *folds = planned(values, "rm.yaml", here)
    learned = {len(s.train) + len(s.validation) + len(s.held_out) for s in folds}
    assert learned == {len(whole.train) + len(whole.validation)}
    assert [s.note for s in folds] == [f"fold {n} of 3" for n in (1, 2, 3)]
    asked = [row["prompt"][0]["content"] for s in folds for row in s.held_out]
    assert len(set(asked)) == len(asked) == len(whole.train) + len(whole.validation)


def test_checkpointing_keeps_less() -> None:
    config = CONFIGS[0]
    kept = [
        _probed(config, Recipe(LoraSettings(), checkpointing=again), 60).layer_bytes
        for again in (False, True)
    ]
    assert kept[1] < kept[0] / 3


def _counts(total: int, trainable: int) -> Parameters:
    return Parameters(total, trainable, total // 2, total // 30, total // 5)


def test_memory_is_weights_adam_and_what_the_layers_keep() -> None:
    tried = Probe(1.0, 1.0, 0.0, layer_bytes=100.0, around_bytes=7.0, step_s=0.0)

    full = memory(_counts(1000, 1000), Recipe(None), 3, 50.0, 10, tried)
    assert full == Memory(50.0, 4000, 12_000, 7 + 3 * 100 * 10)

    lora = memory(_counts(1000, 100), Recipe(LoraSettings(), dtype="bfloat16"), 3, 50.0, 10, tried)
    assert (lora.weights, lora.trained) == (1800, 1600)

    packed = memory(_counts(1000, 100), Recipe(LoraSettings()), 3, 0.0, 10, None, quantized=True)
    assert packed.weights == pytest.approx(400 * 4 + 500 * 4.127 / 8)


def _rows(count: int, words: int = 30) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"{i} " + "a" * (words + i % 7)}],
            "completion": [{"role": "assistant", "content": "b" * words}],
        }
        for i in range(count)
    ]


def test_memory_grows_with_the_batch_until_tokens_at_once(tiny_model: Path) -> None:
    from rlhf.models import ModelSettings, load_tokenizer

    tokenizer = load_tokenizer(ModelSettings(base_model=str(tiny_model)))

    def part(**changed: int) -> int:
        settings = SftSettings(**changed)
        tokens = tokens_of(settings, _rows(64), tokenizer)
        none = tokens_of(settings, [], tokenizer)
        return workload(settings, tokens, none, none, 2).part

    sizes = [part(batch_size=size, tokens_at_once=1000) for size in (1, 4, 8, 64)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2] and sizes[3] <= 1000
    budgets = [part(batch_size=64, tokens_at_once=size) for size in (1, 200, 500, 10_000)]
    assert budgets == sorted(budgets) and budgets[0] < budgets[1] <= 200


def test_steps_validations_and_tokens_are_the_trainers(tiny_model: Path) -> None:
    from rlhf.models import ModelSettings, load_tokenizer

    tokenizer = load_tokenizer(ModelSettings(base_model=str(tiny_model)))
    settings = SftSettings(epochs=2, batch_size=8, gradient_accumulation=2, eval_steps=3)
    train = tokens_of(settings, _rows(50), tokenizer)
    validation = tokens_of(settings, _rows(5), tokenizer)

    work = workload(settings, train, validation, validation, 2)

    assert (work.steps, work.looks) == (8, 2)
    assert work.trained == pytest.approx(2 * sum(g.tokens for g in train.groups))
    assert work.seen == work.proof_seen == pytest.approx(2 * validation.total)


def test_long_rows_are_counted(tiny_model: Path) -> None:
    from rlhf.models import ModelSettings, load_tokenizer

    tokenizer = load_tokenizer(ModelSettings(base_model=str(tiny_model)))
    rows = [*_rows(3), *_rows(1, words=300)]
    found = tokens_of(SftSettings(max_length=100), rows, tokenizer)
    assert found.longer == 0.25
    assert max(g.tokens for g in found.groups) == 100
    pairs = [{**row, "chosen": row["completion"], "rejected": row["completion"]} for row in rows]
    for pair in pairs:
        del pair["completion"]
    assert len(tokens_of(RewardModelSettings(max_length=100), pairs, tokenizer).groups) == 3


def _option(way: Way, fits: bool, size: float = 3.4e9) -> Option:
    return Option(way, 1, 0.01, Memory(0, size, 0, 0), Duration(0, 7560, 0), fits)


def test_recommendation_follows_the_thresholds() -> None:
    every: dict[Way, Option] = {w: _option(w, True) for w in ("lora", "full", "qlora")}
    assert recommend(450, every).way == "lora"
    assert recommend(450, every).reason == (
        "full fine-tuning would need 3.4 GB and 2.1 h; you have 450 rows, quick iteration: LoRA"
    )
    assert recommend(50_000, every).way == "lora"
    assert recommend(100_001, every).way == "full"
    assert recommend(100_001, {**every, "full": _option("full", False)}).way == "lora"
    tight = {**every, "full": _option("full", False), "lora": _option("lora", False)}
    assert recommend(450, tight).way == "qlora"
    none = {way: _option(way, False) for way in every}
    assert recommend(450, none).way is None


def test_spans_are_for_people() -> None:
    assert [span(s) for s in (5, 90, 9000, 300_000)] == ["5 s", "1.5 min", "2.5 h", "3.5 days"]


@pytest.fixture
def config(here: Path, tiny_model: Path) -> Path:
    rows = [{"context": f"User: {i} what?", "response": f"Assistant: {i} that"} for i in range(40)]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    path = here / "train.yaml"
    path.write_text(f"stage: sft\nbase_model: {tiny_model}\ndata: {{path: rows.jsonl}}\n")
    return path


@pytest.mark.slow
def test_the_command_tells_a_script(config: Path, rlhf: Command) -> None:
    code, out, _ = rlhf("doctor", str(config), "max_length=16", "eval_steps=100", "--json")
    (stage,) = json.loads(out.splitlines()[-1])["stages"]  # wandb tells that it is offline

    assert code == 0
    assert stage["configured"] == stage["recommendation"]["way"] == "lora"
    assert set(stage["options"]) == {"lora", "full", "qlora"}
    lora, full = stage["options"]["lora"], stage["options"]["full"]
    assert full["trainable"] == stage["parameters"] > lora["trainable"] > 0
    assert lora["memory"]["total"] > 0 and lora["duration"]["total"] > 0
    told = " ".join(stage["warnings"])
    assert "raise max_length" in told and "lower eval_steps" in told and "few" in told
    assert not Path("runs").exists()


def test_the_command_tells_people_what_does_not_fit(
    config: Path, rlhf: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf.doctor.examine.memory_available", lambda: 100)
    code, out, _ = rlhf("doctor", str(config))
    assert code == 1
    assert "does not fit" in out and "not measured" in out


def test_the_machine_is_told(here: Path, rlhf: Command) -> None:
    code, out, _ = rlhf("doctor", "--json")
    found = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 0
    assert found["torch"]["found"] == torch.__version__ or found["torch"]["ok"]
    assert {"cores", "memory", "GPU", "numbers", "disk for runs", "wandb"} <= found.keys()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("stage=stf", "`stage` must be one of"),
        ("data.path=none.jsonl", "no such file"),
        ("base_model=.", "base_model: ."),
        ("lora.target_modules=[nothing]", "no layers named nothing"),
        ("epochz=2", "did you mean `epochs`"),
    ],
)
def test_mistakes_take_one_line(config: Path, rlhf: Command, change: str, told: str) -> None:
    code, _, err = rlhf("doctor", str(config), change)
    assert code == 2
    assert told in err and "Traceback" not in err

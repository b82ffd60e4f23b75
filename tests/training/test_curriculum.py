"""Stage after stage: what is replayed, what is measured, and what a kill leaves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import rlhf.curriculum.train
from feedback_store import Store
from rlhf.curriculum.rows import curriculum_rows
from rlhf.curriculum.settings import StagedConfig
from rlhf.data.records import Record, parse_record
from rlhf.data.replay import replayed
from rlhf.errors import DataError, UsageError
from rlhf.evaluation.compare import number
from rlhf.evaluation.estimate import ratio_estimate
from rlhf.evaluation.forgetting import HeldOut, Progress, change, verdict
from rlhf.evaluation.likelihood import perplexity
from rlhf.lineage import ancestry
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import base_policy, load_policy, read_policy
from rlhf.runs import Run
from rlhf.sampling import Prompt
from rlhf.train import Trained, parse_train_config, train
from rlhf.train_inputs import DataSettings, Where, load_records
from rlhf.training.checkpoints import MarkCheckpoints

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

STAGES = ("general", "domain", "style")


def row(stage: str, n: int, **more: Any) -> dict[str, Any]:
    """The n-th dialogue of a stage; each stage's answers have a tune of their own."""
    return {"context": f"User: {stage} {n}?", "response": f"{stage[::-1]} {n * n % 31}.", **more}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


def given(folder: Path, model: Path, third: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A staged configuration on three small files; `third` are the last stage's own keys."""
    for name in STAGES:
        write(folder / f"{name}.jsonl", [row(name, n) for n in range(32)])
    stages: list[dict[str, Any]] = [
        {"name": name, "data": {"path": f"{name}.jsonl", "held_out": 0.25}} for name in STAGES
    ]
    stages[2] |= third
    return {
        "stage": "staged",
        "base_model": str(model),
        "dtype": "float32",
        "learning_rate": 1e-2,
        "epochs": 2,
        "tracking": "none",
        "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
        "stages": stages,
        "runs": str(folder / "runs"),
        **more,
    }


def run(values: dict[str, Any], folder: Path) -> Trained:
    return train(parse_train_config(values, "staged.yaml"), folder)


def parsed(values: dict[str, Any]) -> StagedConfig:
    config = parse_train_config(values, "staged.yaml")
    assert isinstance(config, StagedConfig)
    return config


@pytest.fixture
def values(here: Path, tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """Settings of three stages on files in the current folder."""

    def make(third: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        return given(here, tiny_model, third or {}, **more)

    return make


@dataclass(frozen=True)
class Whole:
    """A curriculum that ran undisturbed."""

    folder: Path
    values: dict[str, Any]
    trained: Trained


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Stacked, with replay, and a last stage that is asked to train far too long."""
    folder = tmp_path_factory.mktemp("whole")
    third = {"replay": 0.25, "epochs": 30, "learning_rate": 1.0}
    values = given(folder, tiny_model, third, adapters="stacked", store=str(folder / "f.db"))
    return Whole(folder, values, run(values, folder))


# Replay


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("pool", [7, 1000])
def test_replay_is_exactly_its_share_and_comes_by_seed(share: float, pool: int) -> None:
    own, earlier = list(range(1000, 1060)), list(range(pool))
    drawn = replayed(own, earlier, share, "1")
    assert len(drawn) == round(share / (1 - share) * len(own))
    assert len(drawn) / (len(drawn) + len(own)) == pytest.approx(share, abs=0.5 / len(own))
    times = [drawn.count(n) for n in earlier]
    assert max(times) - min(times) <= 1
    assert drawn == replayed(own, earlier, share, "1")
    if share > 0 and len(drawn) < pool:
        assert drawn != replayed(own, earlier, share, "2")


def test_nothing_is_replayed_in_a_first_stage() -> None:
    assert replayed([1, 2], [], 0.5, "1") == []


def test_a_stage_learns_its_rows_and_the_replayed_of_all_before_it(
    values: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[list[str]] = []
    monkeypatch.setattr(rlhf.curriculum.train, "train_stage", lambda _run, _settings, inputs: (
        learned.append([r["prompt"][0]["content"].split()[0] for r in inputs.train]),
        base_policy(inputs.model.base_model),
    )[1])  # fmt: skip
    config = parsed(values({"replay": 0.5}))
    lessons, held_out = curriculum_rows(config, here)
    for taught in lessons:
        rlhf.curriculum.train._train(config, taught, base_policy(config.base_model), here)
    assert [set(words) for words in learned] == [{"general"}, {"domain"}, set(STAGES)]
    own = learned[2].count("style")
    assert len(learned[2]) == 2 * own
    again, _ = curriculum_rows(config, here)
    assert [t.replay for t in again] == [t.replay for t in lessons]
    assert set(held_out) == set(STAGES)


def test_what_one_stage_holds_out_no_stage_learns(values: Any, here: Path) -> None:
    # Two stages read the same file and split it differently.
    data = {"path": "domain.jsonl", "held_out": 0.6}
    lessons, held_out = curriculum_rows(parsed(values({"data": data, "replay": 0.3})), here)
    aside = {r.prompt[0]["content"] for records in held_out.values() for r in records}
    taught = {
        r["prompt"][0]["content"] for t in lessons for r in (*t.own, *t.validation, *t.replay)
    }
    assert aside and taught and not aside & taught


# Measured


def test_the_tables_numbers_are_those_of_a_direct_evaluation(whole: Whole) -> None:
    told = whole.trained.proof["stages"]
    assert [s["name"] for s in told] == list(STAGES)
    assert told[2]["replayed"] == round(told[2]["rows"] / 3)
    model = ModelSettings(base_model=whole.values["base_model"], dtype="float32")
    policies = [read_policy(Path(s["run"]) / "adapter") for s in told]
    models = [load_policy(model, p) for p in (base_policy(model.base_model), *policies)]
    tokenizer = load_tokenizer(model)
    page = Path(whole.trained.proof["report"]).read_text(encoding="utf-8")
    for place, name in enumerate(STAGES):
        data = DataSettings(path=whole.folder / f"{name}.jsonl", held_out=0.25)
        _, held_out, _ = load_records(data.path, data, "sft", 42)
        prompts = [Prompt(r.prompt, r.style) for r in held_out]
        answers = [str(r.completion) for r in held_out]
        measured = [perplexity(m, tokenizer, prompts, answers) for m in models]
        direct = [m.value for m in measured if m is not None]
        for stage, figures in enumerate(told, 1):
            of = figures["held_out"][place]
            assert of["of"] == name and of["rows"] == len(held_out)
            assert of["start"]["mean"] == pytest.approx(direct[0], rel=1e-5)
            assert of["before"]["mean"] == pytest.approx(direct[stage - 1], rel=1e-5)
            assert of["after"]["mean"] == pytest.approx(direct[stage], rel=1e-5)
            by, since = direct[stage] / direct[stage - 1] - 1, direct[stage] / direct[0] - 1
            assert of["by_stage"]["mean"] == pytest.approx(by, abs=1e-5)
            assert of["by_stage"]["low"] < of["by_stage"]["mean"] < of["by_stage"]["high"]
            assert of["since_start"]["mean"] == pytest.approx(since, abs=1e-5)
            assert number(of["after"]["mean"]) in page
    # Each stage gains on its own rows.
    assert max(s["held_out"][i]["by_stage"]["high"] for i, s in enumerate(told)) < 0


def test_lineage_names_a_stages_parents(whole: Whole) -> None:
    with Store.open(whole.values["store"]) as store:
        line = ancestry(store, str(whole.trained.policy.id))
    assert [p.id for p in line] == [s["policy"] for s in reversed(whole.trained.proof["stages"])]
    assert [p.manifest["curriculum_stage"] for p in line] == list(reversed(STAGES))
    assert line[-1].parent is None


def test_early_stopping_keeps_a_stages_best_weights(whole: Whole) -> None:
    losses = [r["eval_loss"] for r in whole.trained.run.metrics() if "eval_loss" in r]
    assert len(losses) < 30
    assert len(losses) - 1 - losses.index(min(losses)) == 3  # patience's default
    assert whole.trained.policy.manifest["metrics"]["eval_loss"] == min(losses)


def test_a_change_is_paired_and_its_unit_is_the_conversation() -> None:
    before = HeldOut(3, (10.0, 30.0), (5, 10))
    after = HeldOut(3, (9.0, 27.5), (5, 10))
    found, direct = change(before, after), ratio_estimate([-1.0, -2.5], [5, 10])
    assert direct is not None and direct.low is not None and direct.high is not None
    assert found.mean == pytest.approx(math.exp(36.5 / 15 - 40 / 15) - 1)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(direct.low) - 1, math.exp(direct.high) - 1)
    )
    assert verdict(change(after, after)) == "open"
    assert Progress("x", (before, after, before)).since_start().mean == 0.0


# Killed


class Killed(BaseException):
    """Stands for a kill in the same process."""


def test_a_killed_curriculum_goes_on_where_it_was(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    two = whole.values["stages"][:2]
    values = {**whole.values, "runs": str(tmp_path), "store": None, "stages": two}
    saves: list[int] = []
    mark = MarkCheckpoints.on_save

    def on_save(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        mark(self, args, state, control, **more)
        saves.append(state.global_step)
        if len(saves) == 3:  # in the middle of the second stage
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MarkCheckpoints, "on_save", on_save)
        with pytest.raises(Killed):
            run(values, whole.folder)
    finished = {f: Run(f, "sft", "").finished() for f in tmp_path.glob("sft-*")}
    assert sorted(finished.values()) == [False, True]
    kept = next(f for f, done in finished.items() if done)
    stamp = (kept / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    measured: list[str] = []
    monkeypatch.setattr(rlhf.curriculum.train, "likelihoods", _counting(measured))
    again = run(values, whole.folder)
    undisturbed = whole.trained.proof["stages"][1]
    assert again.policy.id == undisturbed["policy"]
    assert (kept / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    assert measured == [again.policy.id]
    assert again.proof["stages"][1]["held_out"] == undisturbed["held_out"][:2]


def _counting(calls: list[str]) -> Any:
    from rlhf.evaluation.forgetting import likelihoods

    def counted(model: Any, policy: Any, sets: Any) -> Any:
        calls.append(policy.label)
        return likelihoods(model, policy, sets)

    return counted


# Settings


def test_a_stages_keys_stand_over_the_shared_ones(values: Any) -> None:
    third = {"epochs": 5, "adapters": "stacked", "lora": {"r": 2}}
    first, _, last = parsed(values(third, batch_size=3)).stages
    assert (first.epochs, first.batch_size, last.epochs, last.batch_size) == (2, 3, 5, 3)
    assert last.lora is not None and (last.lora.r, last.lora.alpha, last.lora.dropout) == (2, 8, 0)


@pytest.mark.parametrize(
    ("third", "more", "told"),
    [
        ({"name": "domain"}, {}, "two stages are named domain"),
        ({"lora": {"r": 2}}, {}, "style carries the adapter of the stages before it"),
        ({"replay": 1}, {}, "`stages.2.replay`"),
        ({"epohcs": 1}, {}, "unknown key `stages.2.epohcs`; did you mean `epochs`?"),
        ({}, {"lerning_rate": 1}, "unknown key `lerning_rate`; did you mean `learning_rate`?"),
        ({}, {"stages": 3}, "`stages`: "),
        ({}, {"stages": [3]}, "`stages.0`: "),
        ({}, {"stages": []}, "`stages`: "),
    ],
)
def test_a_mistake_is_named(third: Any, more: Any, told: str, values: Any) -> None:
    with pytest.raises(UsageError) as caught:
        parse_train_config({**values(third), **more}, "staged.yaml")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_where_picks_rows(here: Path) -> None:
    def record(**more: Any) -> Record:
        return parse_record(row("general", 1, **more), "x:1")

    assert Where().lets(record())
    assert Where(intent=("a", "b")).lets(record(intent="b"))
    assert not Where(intent=("a",)).lets(record())
    assert Where(style=("caring",)).lets(record(style="关怀"))
    assert Where(style=("关怀",)).lets(record(style="关怀"))
    assert not Where(style=("caring",), intent=("a",)).lets(record(style="caring", intent="c"))
    chinese = record(context="用户:你好吗")
    assert Where(language="zh").lets(chinese) and not Where(language="en").lets(chinese)
    assert Where(language="en").lets(record())
    write(here / "d.jsonl", [row("general", n) for n in range(4)])
    data = DataSettings(path=here / "d.jsonl", where=Where(intent=("refund",)))
    with pytest.raises(DataError, match="`where` lets none of 4 rows pass"):
        load_records(data.path, data, "sft", 1)


def test_preferences_teach_their_chosen_answers(values: Any, here: Path) -> None:
    config = values()
    rows = [{"prompt": f"hh {n}", "chosen": f"yes {n}", "rejected": "no"} for n in range(40)]
    write(here / "domain.jsonl", rows)
    lessons, held_out = curriculum_rows(parsed({**config, "runs": "r"}), here)
    assert {r["completion"][0]["content"].split()[0] for r in lessons[1].own} == {"yes"}
    assert {str(r.completion).split()[0] for r in held_out["domain"]} == {"yes"}


def test_the_command_tells_the_table_and_prints_json(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(whole.folder)
    Path("c.yaml").write_text(yaml.safe_dump(whole.values))
    code, out, err = rlhf("train", "c.yaml", "--json")
    assert code == 0 and err.count("kept") == 3
    told = json.loads(out)
    assert told["stages"] == whole.trained.proof["stages"]
    assert Path(told["report"]).parent == Path(told["run"])
    assert all(f"Held-out perplexity after {name}" in err for name in STAGES)
    code, out, err = rlhf("train", "c.yaml")
    assert code == 0 and f"report {told['report']}" in out.replace("\n", " ")


def test_the_shipped_configuration_reads_its_rows() -> None:
    path = Path(__file__).parents[2] / "configs" / "staged.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    lessons, held_out = curriculum_rows(parsed(config), path.parent)
    assert [t.lesson.name for t in lessons] == list(STAGES)
    assert all(len(t.own) >= 40 for t in lessons) and set(held_out) == set(STAGES)

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, field_validator, model_validator

from rlhf.config import (
    Settings,
    apply_overrides,
    existing_path,
    load,
    redacted_dump,
    resolve_path,
    validate,
)
from rlhf.cycle_settings import LoopConfig
from rlhf.errors import UsageError
from rlhf.sampling import Sampling
from rlhf.train import SftConfig, parse_train_config


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    values = load(write(tmp_path / "a.yaml", "learning_rate: 2e-4\nneg: -1E5\n"))
    assert values == {"learning_rate": 2e-4, "neg": -1e5}


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "seed: 1\nepochs: 2\nseed: 3\n")
    with pytest.raises(UsageError, match=r"a\.yaml: line 3: the key `seed` stands twice"):
        load(path)


# Each line is shallow; what the last one means is not.
CHAIN = "k0: &a0 []\n" + "".join(f"k{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\n", r"a\.yaml:2: is not valid YAML"),
        ("- 1\n", "must hold `key: value` lines"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("a: ${NO_SUCH_VARIABLE}\n", "NO_SUCH_VARIABLE is not set"),
        ("a: 1\nb: \x07\n", r"a\.yaml:2: is not valid YAML: the character '\\x07'"),
        ("a: 1\nb: 2024-13-45\n", r"a\.yaml:2: is not valid YAML: month must be in 1\.\.12"),
        (f"a: {'9' * 5000}\n", r"a\.yaml:1: is not valid YAML"),
        ("a: " + "[" * 5000, r"a\.yaml: is nested too deeply"),
        ("a: &x [*x]\n", r"a\.yaml:1: is not valid YAML"),
        (CHAIN, r"a\.yaml: its aliases make too much of it"),
    ],
)
def test_broken_files_are_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load(write(tmp_path / "a.yaml", text))
    assert "\n" not in str(caught.value)


def test_the_environment_fills_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.yaml", "path: ${FOLDER:-here}/x.jsonl\n")
    assert load(path) == {"path": "here/x.jsonl"}
    monkeypatch.setenv("FOLDER", "/there")
    assert load(path) == {"path": "/there/x.jsonl"}


def test_overrides_reach_deep_keys_and_leave_the_rest() -> None:
    values = {"lora": {"r": 16, "alpha": 32}, "seed": 1}
    assert apply_overrides(values, ["lora.r=8", "new.key=[1, x]"]) == {
        "lora": {"r": 8, "alpha": 32},
        "seed": 1,
        "new": {"key": [1, "x"]},
    }
    assert values["lora"] == {"r": 16, "alpha": 32}
    with pytest.raises(UsageError, match="key=value"):
        apply_overrides({}, ["seed"])


def test_overrides_reach_into_lists() -> None:
    values = {"stages": [{"stage": "dpo", "beta": 0.1}, {"stage": "kto"}]}
    assert apply_overrides(values, ["stages.0.beta=0.5", "stages.1.epochs=3"]) == {
        "stages": [{"stage": "dpo", "beta": 0.5}, {"stage": "kto", "epochs": 3}]
    }
    assert values["stages"][0] == {"stage": "dpo", "beta": 0.1}
    for index in ("2", "-1", "first"):
        with pytest.raises(UsageError, match=f"no entry `{index}` in a list of 2"):
            apply_overrides(values, [f"stages.{index}.epochs=3"])


@pytest.mark.parametrize("value", ["\x07", "2024-13-45", "[" * 5000, "[1", "{a: 1, a: 2}"])
def test_an_override_that_is_no_yaml_is_named(value: str) -> None:
    with pytest.raises(UsageError, match=r"^`lora\.r=") as caught:
        apply_overrides({}, [f"lora.r={value}"])
    assert "\n" not in str(caught.value)


def test_a_misspelt_key_names_the_nearest_known_one() -> None:
    values = {
        "stage": "sft",
        "base_model": "m",
        "data": {"path": "d.jsonl", "limt": 3},
        "lerning_rate": 1e-4,
    }
    with pytest.raises(UsageError) as caught:
        parse_train_config(values, "c.yaml")
    assert "unknown key `data.limt`; did you mean `limit`?" in str(caught.value)
    assert "unknown key `lerning_rate`; did you mean `learning_rate`?" in str(caught.value)


def loop_mistakes(**values: Any) -> str:
    given = {"base_model": "m", "dialogues": ["d"], "evaluation": {"judge": {"kind": "votes"}}}
    with pytest.raises(UsageError) as caught:
        validate(LoopConfig, {**given, **values}, "c.yaml")
    return str(caught.value)


def evaluation(**values: Any) -> dict[str, Any]:
    return {"judge": {"kind": "votes"}, **values}


def test_a_misspelt_key_of_a_dataclass_names_the_nearest() -> None:
    told = loop_mistakes(evaluation=evaluation(sampling={"temprature": 1}))
    assert told == (
        "c.yaml: unknown key `evaluation.sampling.temprature`; did you mean `temperature`?"
    )


def test_mistakes_are_placed_where_the_user_wrote_them() -> None:
    assert "`sft.epochs`: " in loop_mistakes(sft={"epochs": -1})
    told = loop_mistakes(stages=[{"stage": "dpo"}, {"stage": "kto", "beta": -1, "bta": 2}])
    assert "`stages.1.beta`: " in told
    assert "unknown key `stages.1.bta`; did you mean `beta`?" in told
    judge = {"kind": "llm", "url": "http://h", "model": "m", "modle": "x", "retries": -1}
    told = loop_mistakes(evaluation={"judge": judge})
    assert "`evaluation.judge.retries`: " in told
    assert "unknown key `evaluation.judge.modle`; did you mean `model`?" in told


class Inner(Settings):
    rate: float = 1.0


class Outer(Settings):
    rates: int = 1
    inner: Inner = Inner()


def test_the_nearest_key_is_sought_in_the_same_part_first() -> None:
    cases = {
        "ratex": {"inner": {"ratex": 1}},
        "`rates` belongs to another part": {"inner": {"rates": 1}},
        "did you mean `inner`?": {"iner": {}},
        "known here: inner, rates": {"zzz": 1},
    }
    told = {}
    for expected, values in cases.items():
        with pytest.raises(UsageError) as caught:
            validate(Outer, values, "c.yaml")
        told[expected] = str(caught.value)
    assert "did you mean `rate`?" in told.pop("ratex")
    assert "did you mean `rate`?" in told.pop("`rates` belongs to another part")
    assert all(expected in line for expected, line in told.items())
    assert "`epochs` belongs to another part" in loop_mistakes(epochs=2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", -1),
        ("temperature", float("inf")),
        ("top_p", 0),
        ("top_p", 1.5),
        ("batch_size", 0),
        ("max_new_tokens", -3),
    ],
)
def test_impossible_sampling_is_refused(key: str, value: float) -> None:
    told = loop_mistakes(evaluation=evaluation(sampling={key: value}))
    assert f"`evaluation.sampling.{key}`: Input should be" in told
    with pytest.raises(ValueError, match=key):
        Sampling(**{key: value})
    assert Sampling(20, temperature=0, batch_size=3).max_new_tokens == 20


class Secretive(Settings):
    store: str = "postgresql+psycopg://me:p%40ss/w@host:5432/db?sslmode=on"
    plain: str = "https://host:8000/v1/chat"
    query: str = "https://host/hook?a=1&api_key=hush&b=2"
    webhook: str | None = "https://hooks.example/T0/hush"
    api_key_env: str = "NAME_OF_A_VARIABLE"
    trainer: dict[str, Any] = Field(
        default={
            "hub_token": "hush",
            "eos_token": "<|end|>",
            "sub": [{"wandb_api_key": "hush", "db_password": "hush", "max_token": 3}],
        }
    )


def test_a_dump_holds_no_secrets() -> None:
    dumped = redacted_dump(Secretive())
    assert dumped["store"] == "postgresql+psycopg://me:***@host:5432/db?sslmode=on"
    assert dumped["plain"] == Secretive().plain
    assert dumped["query"] == "https://host/hook?a=1&api_key=***&b=2"
    assert dumped["webhook"] == "***"
    assert dumped["api_key_env"] == "NAME_OF_A_VARIABLE"
    assert dumped["trainer"]["eos_token"] == "<|end|>"
    assert dumped["trainer"]["sub"][0]["max_token"] == 3
    assert "hush" not in json.dumps(dumped)
    assert redacted_dump(Secretive(webhook=None))["webhook"] is None


def test_a_wrong_value_is_quoted() -> None:
    values = {"stage": "sft", "base_model": "m", "data": {"path": "d"}, "epochs": -1}
    with pytest.raises(UsageError, match=r"`epochs`: .*greater than 0 \(found -1\)"):
        parse_train_config(values, "c.yaml")
    with pytest.raises(UsageError, match="`stage` must be one of sft, dpo, kto"):
        parse_train_config({"stage": "ppo2"}, "c.yaml")


def test_every_key_is_documented() -> None:
    for name, field in SftConfig.model_fields.items():
        assert field.description, name


def test_settings_are_frozen() -> None:
    values = {"stage": "sft", "base_model": "m", "data": {"path": "d"}}
    settings = validate(SftConfig, values, "c.yaml")
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 3  # type: ignore[misc]


def test_paths_are_found_beside_the_file_then_here(here: Path) -> None:
    base = here / "configs"
    base.mkdir()
    (base / "a").touch()
    (here / "a").touch()
    (here / "b").touch()
    assert resolve_path("a", base) == base / "a"
    assert existing_path("b", base) == Path("b")
    with pytest.raises(UsageError, match="no such file"):
        existing_path("c", base)


def test_a_mistake_is_told_in_our_own_words() -> None:
    class Bounds(Settings):
        low: int = 0
        high: int = 1

        @field_validator("low")
        @classmethod
        def _even(cls, low: int) -> int:
            if low % 2:
                raise ValueError("take an even number")
            return low

        @model_validator(mode="after")
        def _ordered(self) -> "Bounds":
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    with pytest.raises(UsageError, match=r"^x.yaml: `low`: take an even number \(found 3\)$"):
        validate(Bounds, {"low": 3}, "x.yaml")
    with pytest.raises(UsageError, match=r"^x.yaml: low is above high$"):
        validate(Bounds, {"low": 4}, "x.yaml")

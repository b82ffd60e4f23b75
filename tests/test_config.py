from pathlib import Path

import pytest

from rlhf.config import apply_overrides, existing_path, load, resolve_path, validate
from rlhf.errors import UsageError
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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\n", r"a\.yaml:2: is not valid YAML"),
        ("- 1\n", "must hold `key: value` lines"),
        ("a: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("a: ${NO_SUCH_VARIABLE}\n", "NO_SUCH_VARIABLE is not set"),
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

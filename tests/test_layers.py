"""Imports go down: this reads them and keeps it so."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

# From the bottom up; a file may import its own layer and those below.
LAYERS = [
    ["feedback_store"],
    ["rewards"],
    [
        "rlhf.errors",
        "rlhf.files",
        "rlhf.progress",
        "rlhf.config",
        "rlhf.chat",
        "rlhf.runs",
        "rlhf.tracking",
        "rlhf.notify",
        "rlhf.models",
        "rlhf.policies",
        "rlhf.stacking",
        "rlhf.sampling",
        "rlhf.vllm",
        "rlhf.packed",
        "rlhf.scoring",
        "rlhf.reward_model",
        "rlhf.data",
    ],
    [
        "rlhf.training",
        "rlhf.evaluation",
        "rlhf.learned",
        "rlhf.release",
        "rlhf.lineage",
        "rlhf.pruning",
        "rlhf.exchange",
    ],
    [
        "rlhf.simulate",
        "rlhf.proof",
        "rlhf.train_inputs",
        "rlhf.curriculum",
        "rlhf.prepare",
        "rlhf.folds",
        "rlhf.train",
        "rlhf.lab",
        "rlhf.cycle_settings",
        "rlhf.journal",
        "rlhf.watch",
        "rlhf.copies",
        "rlhf.erase",
        "rlhf.serving",
    ],
    ["rlhf.cycle", "rlhf.stand_ins", "rlhf.doctor"],
    ["rlhf.candidates"],
    ["rlhf.loop"],
    ["rlhf.rounds"],
    ["rlhf.commands", "rlhf.cli"],
]


def layer(module: str) -> int | None:
    for height, names in enumerate(LAYERS):
        if any(module == n or module.startswith(n + ".") for n in names):
            return height
    return None


def files() -> Iterator[tuple[str, Path]]:
    for package in ("feedback_store", "rewards", "rlhf"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_has_a_layer() -> None:
    unknown = [m for m, _ in files() if m != "rlhf" and layer(m) is None]
    assert unknown == []


def test_imports_go_down() -> None:
    wrong = []
    for module, path in files():
        height = layer(module)
        for name in imports(path):
            other = layer(name)
            if height is not None and other is not None and other > height:
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_the_store_knows_nothing_of_models() -> None:
    heavy = {"torch", "transformers", "trl", "peft", "rlhf", "rewards"}
    for module, path in files():
        if module.startswith("feedback_store"):
            assert heavy.isdisjoint(name.split(".")[0] for name in imports(path)), module
        if module.startswith("rewards"):
            assert {"trl", "rlhf"}.isdisjoint(name.split(".")[0] for name in imports(path)), module


def test_trainings_and_evaluations_rooms_stay_apart() -> None:
    for module, path in files():
        found = set(imports(path))
        if module.startswith("rlhf.training"):
            assert not any(name.startswith("rlhf.evaluation") for name in found), module
        if module.startswith("rlhf.evaluation"):
            assert not any(name.startswith("rlhf.training") for name in found), module

"""A preview's order of mixes is the order that short trainings come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.test_experiment import grid_of
from letters import REWARDS, save_model

from rlhf.errors import UsageError
from rlhf.lab.foretold import predicted_gains

A = {"name": f"{REWARDS}:share_of_a"}
SIZE = {"name": f"{REWARDS}:how_long", "label": "size"}
MIXES = {
    "short and a": [A, {**SIZE, "weight": -0.1}],
    "a": [A],
    "short": [{**SIZE, "weight": -1.0}],
    "long": [SIZE],
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_training_keeps_the_order_that_a_preview_told(
    tmp_path: Path, rlhf: Callable[..., tuple[int, str, str]]
) -> None:
    model = save_model(tmp_path / "model").base_model
    grid = grid_of(tmp_path, model)
    train = json.loads(grid.read_text())["train"]
    mixes = {"mixes": MIXES, "yardstick": "short and a"}
    asked = {key: train[key] for key in ("base_model", "dtype", "data", "runs", "sampling")}
    (tmp_path / "preview.yaml").write_text(json.dumps({**asked, **mixes}))
    code, out, err = rlhf("rewards", "preview", str(tmp_path / "preview.yaml"), "--json")
    assert code == 0, err
    # Near the distance that the preview is about: after three times as many rounds each mix has
    # gone to its own extreme, where two of the six pairs come out the other way round.
    near = ("train.updates=4", "seeds=[1, 2]")
    changed = (f"mixes={json.dumps(MIXES)}", "yardstick=short and a", *near)
    code, out, err = rlhf(
        *("rewards", "experiment", str(grid), *changed, "measures=[]"),
        *("--preview", json.loads(out)["json"], "--json"),
    )
    assert code == 0, err
    told = json.loads(out)["foretold"]
    assert set(told["predicted"]) == set(MIXES) and told["tau"] >= 0.6, told


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mixes": {"a": {"curve": []}}}'])
def test_another_file_is_no_preview(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UsageError, match=r"p.json: is not the JSON of `rlhf rewards preview`"):
        predicted_gains(tmp_path / "p.json")
    with pytest.raises(UsageError, match="cannot be read"):
        predicted_gains(tmp_path / "none.json")

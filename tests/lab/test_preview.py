"""A preview by a tiny model: asked once, told for every mix, and by the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from letters import LETTERS, REWARDS, save_model

from rlhf.lab.best_of import change
from rlhf.lab.preview import Preview, PreviewConfig, preview

A, LONG = {"name": f"{REWARDS}:share_of_a"}, {"name": f"{REWARDS}:how_long", "label": "size"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("letters")).base_model


@pytest.fixture
def config(model: str, tmp_path: Path) -> dict[str, Any]:
    rows = [{"prompt": LETTERS[n % 8] * (1 + n // 8)} for n in range(12)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "base_model": model,
        "dtype": "float32",
        "data": {"path": "prompts.jsonl", "held_out": 0.0},
        "runs": str(tmp_path / "runs"),
        "samples": 6,
        "sampling": {"max_new_tokens": 6},
        "mixes": {
            "a": [A],
            "long": [LONG],
            "short and a": [{**LONG, "weight": -0.5}, A],
        },
    }


def look(values: dict[str, Any], base: Path) -> Preview:
    return preview(PreviewConfig.model_validate(values), base)


def test_tells_what_each_mix_would_change(config: dict[str, Any], tmp_path: Path) -> None:
    found = look(config, tmp_path)
    assert len(found.answers.asked) == 12 and not found.answers.kept
    columns = found.measured.columns()
    texts = [[c.text for c in row] for row in found.answers.drawn]
    shares = [[t.count("a") / 6 for t in row] for row in texts]
    assert columns["reward/share_of_a"].tolist() == shares
    best = [max(row) - float(np.mean(row)) for row in shares]
    last = found.curves["a"][-1]
    assert last.k == 6 and last.changes["total"].mean == pytest.approx(np.mean(best))  # type: ignore[union-attr]
    assert found.order[0] == "a"  # nothing gains more by a mix than its own best
    short = found.curves["short and a"][-1].changes["reward/size"]
    assert short == change(found.rewards["short and a"], columns["reward/size"], 6)
    assert short is not None and short.mean < 0
    alone = found.document()["rewards"]
    assert alone["share_of_a"]["changes"]["total"]["mean"] == pytest.approx(np.mean(best))
    gains = [p.changes["total"].mean for p in found.curves["long"]]  # type: ignore[union-attr]
    assert gains == sorted(gains) and gains[0] == 0
    assert np.isfinite(columns["nll"]).all()


def test_asks_once_for_any_mixes(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look(config, tmp_path)
    monkeypatch.setattr("rlhf.lab.answers.load_policy", None)  # no model is loaded again
    second = look({**config, "mixes": {"other": [LONG]}}, tmp_path)
    assert second.answers.kept and second.answers.run == first.answers.run
    assert second.answers.drawn == first.answers.drawn
    (first.answers.run.folder / "samples.jsonl").write_text("{}\n")  # damage is not believed
    with pytest.raises(TypeError):
        look(config, tmp_path)


def test_the_command(
    rlhf: Callable[..., tuple[int, str, str]], config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    code, out, _ = rlhf("rewards", "preview", str(tmp_path / "c.yaml"), "yardstick=long", "--json")
    told = json.loads(out)
    assert code == 0 and told["order"][0] == "long" and told["prompts"] == 12
    assert json.loads(Path(told["json"]).read_text())["order"] == told["order"]
    page = Path(told["report"]).read_text()
    assert "short and a" in page and "http" not in page.replace("http-equiv", "").split("<body>")[0]
    code, out, _ = rlhf("rewards", "preview", str(tmp_path / "c.yaml"))
    assert code == 0 and out.startswith("1. a\n")
    code, _, err = rlhf("rewards", "preview", str(tmp_path / "c.yaml"), "yardstick=none")
    assert code == 2 and "no mix 'none'; known: a, long, short and a" in err

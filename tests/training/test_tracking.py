from pathlib import Path

import pytest
from examples_of import dialogue

from rlhf.errors import UsageError
from rlhf.models import ModelSettings
from rlhf.policies import base_policy
from rlhf.runs import open_run
from rlhf.tracking import tracked, wandb_mode
from rlhf.training.settings import SftSettings
from rlhf.training.sft import sft_rows, train_sft
from rlhf.training.stage import StageInputs


def test_wandb_is_offline_without_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    assert wandb_mode() == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_mode() == "online"
    (tmp_path / ".netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode() == "disabled"


def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlhf.tracking.find_spec", lambda name: None)
    with (
        pytest.raises(UsageError, match="tensorboard is not installed"),
        tracked("tensorboard", tmp_path, "g"),
    ):
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_stage_writes_its_curves_to_an_offline_run(
    settings: ModelSettings, tmp_path: Path
) -> None:
    rows = sft_rows([dialogue(n) for n in range(8)])
    run = open_run(tmp_path, "sft", {}, {})
    stage = SftSettings(epochs=1, tracking="wandb")
    inputs = StageInputs(settings, base_policy(settings.base_model), rows, rows[:2], {})
    train_sft(run, stage, inputs)
    (offline,) = (run.folder / "wandb").glob("offline-run-*")
    assert list(offline.glob("*.wandb"))
    text = b"".join(p.read_bytes() for p in offline.rglob("*") if p.is_file())
    for row in rows:  # what users said stays out of the tracker
        assert row["completion"][0]["content"].encode() not in text

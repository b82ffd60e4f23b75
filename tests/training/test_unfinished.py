"""An answer that a limit cut off is learned without the end that the template would give it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from examples_of import dialogue, pair, vote
from trl import SFTConfig

from rlhf.data.records import read_records
from rlhf.errors import DataError
from rlhf.evaluation.likelihood import answer_ids
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy
from rlhf.sampling import Prompt
from rlhf.training.arguments import library_arguments
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows
from rlhf.training.rows import unpaired
from rlhf.training.settings import DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import PackedSFTTrainer, sft_rows
from rlhf.training.stage import StageInputs, assemble, starting_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def trainer(kind: Any, stage: Any, arguments: Any, rows: Any, of: Any) -> Any:
    settings, start = of
    inputs = StageInputs(settings, start, rows, [], {})
    model = starting_model(inputs, stage)
    return assemble(kind, model, load_tokenizer(settings), arguments, inputs, stage)


def ends(built: Any) -> list[list[bool]]:
    """For each row, for each of its completions: whether the end of turn is learned."""
    end = built.processing_class.eos_token_id
    rows = built.get_train_dataloader().dataset
    return [[end in c for c in built.group(row).completions] for row in rows]


def test_each_stage_leaves_the_end_out(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    of = (settings, sft_policy)
    pairs = [replace(pair(0), unfinished=("rejected",)), pair(1)]
    dpo = DpoSettings(tracking="none")
    built = trainer(PackedDPOTrainer, dpo, dpo_arguments(dpo, tmp_path), dpo_rows(pairs), of)
    assert ends(built) == [[True, False], [True, True]]
    assert built.train_dataset[0]["rejected_ids"][-1] == built.processing_class.eos_token_id

    votes = [replace(vote(n), unfinished=("completion",) if n < 3 else ()) for n in range(6)]
    rows = kto_rows(votes, 0)
    kto = KtoSettings(tracking="none")
    built = trainer(PackedKTOTrainer, kto, kto_arguments(kto, rows, tmp_path), rows, of)
    assert ends(built) == [[not row["unfinished_completion"]] for row in rows]

    sft = SftSettings(tracking="none")
    rows = sft_rows([replace(dialogue(0), unfinished=("completion",)), dialogue(1)])
    own = {"packing": False, "completion_only_loss": True}
    arguments = library_arguments(SFTConfig, sft, own, tmp_path)
    assert ends(trainer(PackedSFTTrainer, sft, arguments, rows, of)) == [[False], [True]]


def test_records_carry_the_names_and_refuse_others(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": "Hello.", "rejected": "He", "unfinished": ["rejected"]}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row))
    (record,) = read_records(path)
    assert record.unfinished == ("rejected",)
    assert [r.unfinished for r in unpaired([record])] == [(), ("completion",)]
    path.write_text(json.dumps(row | {"unfinished": ["both"]}))
    with pytest.raises(DataError, match="`unfinished` must list"):
        read_records(path)


def test_a_held_out_vote_is_scored_without_the_end(settings: ModelSettings) -> None:
    tokenizer = load_tokenizer(settings)
    prompt = Prompt(({"role": "user", "content": "Hi"},))
    whole = answer_ids(tokenizer, prompt, "He")
    assert whole[-1] == tokenizer.eos_token_id
    assert answer_ids(tokenizer, prompt, "He", finished=False) == whole[:-1]

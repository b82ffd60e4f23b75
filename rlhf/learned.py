"""`learned.json` beside a reward model: the answers that it has learned from, never their words.

What a model says of its own pairs is hindsight. Each answer has the score that another model gave
it which had not learned it (`rlhf.folds`), or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from rlhf.chat import Message
from rlhf.data.records import Record
from rlhf.errors import PolicyError
from rlhf.files import content_id, write_json
from rlhf.policies import Policy, read_policy

LEARNED = "learned.json"


class _Learned(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    policy: str
    """Of which model: its folder may have been copied beside another's."""
    answers: dict[str, FiniteFloat | None]


def answer_id(prompt: Sequence[Message], answer: str) -> str:
    """Names an answer to a prompt, whatever style was asked for and however it was voted on."""
    return content_id([[dict(turn) for turn in prompt], answer], 24)


def pair_ids(record: Record) -> tuple[str, str]:
    """Of a pair's chosen and rejected answer."""
    chosen, rejected = (answer_id(record.prompt, str(a)) for a in (record.chosen, record.rejected))
    return chosen, rejected


def write_learned(policy: Policy, pairs: Sequence[Record], scores: Mapping[str, float]) -> None:
    """Keep which pairs a reward model has learned, and scores of their answers by `answer_id`."""
    assert policy.id is not None and policy.folder is not None
    ids = dict.fromkeys(name for record in pairs for name in pair_ids(record))
    told = _Learned(policy=policy.id, answers={name: scores.get(name) for name in ids})
    write_json(policy.folder.parent / LEARNED, told.model_dump())


def read_learned(folder: Path) -> dict[str, float | None] | None:
    """Scores by `answer_id` of what the model in a folder has learned; None where nothing says.

    Raises `PolicyError` for a file that is not as `write_learned` wrote it.
    """
    path = folder.resolve().parent / LEARNED
    if not path.is_file():
        return None
    try:
        told = _Learned.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise PolicyError(
            f"{path}: is not what the training wrote; remove it, and train again for another"
        ) from error
    return told.answers if told.policy == read_policy(folder).id else None

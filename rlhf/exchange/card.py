"""The data set's card: a README whose YAML header tells `datasets` where each table lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from feedback_store import redact

_WHAT = {
    "interactions": "Prompts, the answers given to them, and how they were made.",
    "feedback": "What people said of an answer: thumbs, ratings, comments, corrections.",
    "comparisons": "Choices between two answers; `a` and `b` are ids of interactions.",
    "sft": "Answers worth imitating, in TRL's prompt-completion shape.",
    "dpo": "Better and worse answers, in TRL's preference shape.",
    "kto": "Answers with a verdict, in TRL's unpaired preference shape.",
    "prompts": "Prompts alone, for training on the policy's own answers.",
}


def dataset_card(manifest: Mapping[str, Any]) -> str:
    """The README of an export, from its manifest."""
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{_body(manifest)}"


def _header(manifest: Mapping[str, Any]) -> dict[str, Any]:
    tables: Mapping[str, Mapping[str, int]] = manifest["tables"]
    configs: list[dict[str, Any]] = []
    for name, splits in tables.items():
        files = [{"split": split, "path": f"{name}/{split}.parquet"} for split in splits]
        first = {"default": True} if not configs else {}
        configs.append({"config_name": name, **first, "data_files": files})
    total = max((sum(splits.values()) for splits in tables.values()), default=0)
    return {
        "license": None,  # the owner's to say
        "pretty_name": f"Feedback of {manifest['project']}",
        "tags": ["rlhf", "preference", "dialogue", "human-feedback"],
        "size_categories": [_size(total)],
        "configs": configs,
    }


def _size(rows: int) -> str:
    """The Hub's name for a number of rows."""
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
    limits = (10**power for power in range(3, 9))
    return next((n for limit, n in zip(limits, names, strict=True) if rows < limit), "n>100M")


def _body(manifest: Mapping[str, Any]) -> str:
    return "\n\n".join(
        [
            f"# Feedback of {manifest['project']}",
            "What people asked a language model, what it answered, and what they said of it.",
            "**Licence**: not stated. Whoever publishes this fills in `license` above.",
            "## Tables",
            _tables(manifest["tables"]),
            "```python\nfrom datasets import load_dataset\n\n"
            'load_dataset("path/to/this/folder", "dpo", split="train")\n```',
            "## How it was made",
            _made(manifest),
            "## Personal data",
            _privacy(manifest),
            "",
        ]
    )


def _tables(tables: Mapping[str, Mapping[str, int]]) -> str:
    lines = ["| table | split | rows | holds |", "|---|---|---|---|"]
    for name, splits in tables.items():
        lines += [f"| {name} | {s} | {rows} | {_WHAT[name]} |" for s, rows in splits.items()]
    return "\n".join(lines)


def _made(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"Exported by rlhf-loop {manifest['version']} from a feedback store, project "
        f"`{manifest['project']}`, with all that was recorded up to number "
        f"{manifest['watermark']}. Votes are the ones that stood then: a changed mind counts once, "
        "a withdrawn vote not at all. Times are advisory; `seq` is the order of recording. "
        "`simulated` marks what a program said."
    ]
    if manifest["snapshot"]:
        lines.append(
            f"The training tables are those of snapshot `{manifest['snapshot']}`: `weight` is how "
            "far the row's votes can be believed, `votes` names them, and `test` holds "
            "conversations that never train."
        )
    else:
        lines.append("There are no training tables: no vote made a row that can be trained on.")
    return "\n\n".join(lines)


def _privacy(manifest: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"`<{kind}>`" for kind in redact.DETECTORS)
    consent = (
        "Interactions **without consent to train** are among them (`consent` is false); the "
        "training tables leave them out."
        if manifest["without_consent"]
        else "Interactions without consent to train, and the votes on them, are left out."
    )
    return (
        f"Before anything was recorded, what was recognised was replaced by {kinds}; recognition "
        "isn't perfect. `user` and `voter` are pseudonyms made for this export alone: one person "
        f"has one name in it, and another in any other export.\n\n{consent}"
    )

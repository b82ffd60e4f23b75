"""Rows of people who did not agree to it never train, in whatever way they came to be."""

from pathlib import Path

import pytest

from feedback_store import Comparison, Feedback, SnapshotRules, Store, build_snapshot

SECRET = "unwilling"


@pytest.mark.parametrize("held_out", [0.0, 0.6])
def test_nothing_of_a_row_without_consent_is_in_a_snapshot(
    store: Store, tmp_path: Path, ask, thumb, compare, held_out: float
) -> None:
    def no(id: str, prompt: str, response: str):
        return ask(id, prompt, f"{SECRET} {response}", consent=False, intent=SECRET)

    def fix(interaction: str, text: str) -> Feedback:
        return Feedback(interaction=interaction, voter="ann", kind="correction", text=text)

    rated = Feedback(interaction="n-rate", voter="ann", kind="rating", value=5.0)
    store.append(
        interactions=[
            *(ask(f"y{n}", f"shared {n}", f"agreed {n}") for n in range(8)),
            # The same prompts with an answer of one who did not agree: up here and down there
            # would make a pair, and so would a choice between the two.
            *(no(f"n{n}", f"shared {n}", f"answer {n}") for n in range(8)),
            no("n-prompt", f"{SECRET} prompt that nobody voted on", "answer"),
            no("n-rate", f"{SECRET} rated", "answer"),
            no("n-fix", f"{SECRET} to be corrected", "answer"),
            no("n-a", f"{SECRET} both", "one"),
            no("n-b", f"{SECRET} both", "two"),
            # Their own words in an answer that all agreed to: the text trains, once, from there.
            ask("same", "shared text", "agreed text"),
            ask("same-no", "shared text", "agreed text", consent=False),
        ],
        feedback=[
            *(thumb(f"y{n}", 1.0) for n in range(8)),
            *(thumb(f"n{n}", -1.0) for n in range(8)),
            fix("n-fix", f"{SECRET} better"),
            rated,
            thumb("same"),
            thumb("same-no", voter=SECRET),
        ],
        comparisons=[
            *(compare(f"n{n}", f"y{n}", "a", voter="bob") for n in range(4)),
            *(compare(f"y{n}", f"n{n}", "a", voter="bob") for n in range(4, 6)),
            *(compare(f"y{n}", f"n{n}", "both_bad", voter="bob") for n in range(6, 8)),
            compare("n-a", "n-b", "b"),
        ],
    )
    manifest = build_snapshot(store, tmp_path, SnapshotRules(held_out=held_out))
    folder = tmp_path / manifest.id
    text = "".join(file.read_text() for file in folder.iterdir())
    assert SECRET not in text and "agreed 0" in text
    assert f"thumb-same-no-{SECRET}-1.0" not in text and "thumb-same-ann-1.0" in text
    assert manifest.dropped["interactions"]["no_consent"] == 14
    votes = 8 + 1 + 1 + 1 + 9
    assert manifest.dropped["votes"]["interaction_left_out"] == votes
    # What both sides agreed to is all there is: no pair, no downvote, no "both bad" from the rest.
    rows = {name: entry.rows for name, entry in manifest.files.items()}
    assert rows["dpo.jsonl"] == rows["heldout_dpo.jsonl"] == rows["heldout_comparisons.jsonl"] == 0
    assert rows["kto.jsonl"] + rows["heldout_kto.jsonl"] == 9
    assert rows["prompts.jsonl"] + rows["heldout_prompts.jsonl"] == 9
    assert '"label":false' not in text


def test_a_choice_waits_for_both_sides(store: Store, tmp_path: Path, ask, thumb) -> None:
    store.append(
        interactions=[ask("a", response="A"), ask("b", response="B", consent=False)],
        feedback=[thumb("a")],
        comparisons=[Comparison(a="a", b="b", voter="ann", choice="a")],
    )
    rules = SnapshotRules(held_out=0.0)
    assert build_snapshot(store, tmp_path, rules).files["dpo.jsonl"].rows == 0
    store.append(
        interactions=[ask("c", response="C")],
        comparisons=[Comparison(a="a", b="c", voter="ann", choice="a")],
    )
    assert build_snapshot(store, tmp_path, rules).files["dpo.jsonl"].rows == 1

"""Each importer on a sample of its tool's format: what goes in, and one line per refused row."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from feedback_store import Store

Call = Callable[..., tuple[int, str, str]]


class Sample(NamedTuple):
    """A file, how it is imported, what it makes and what is refused, by place."""

    file: str
    options: tuple[str, ...]
    rows: int
    made: tuple[int, int, int]
    refused: dict[str, str]
    first: str = ""


ALL = [
    Sample(
        "dialogue.json",
        ("--format", "dialogue"),
        6,
        (2, 0, 0),
        {
            "4": "`response` is empty",
            "5": "a dialogue needs `response` as text",
            "6": "a dialogue needs `response` as text",
            "7": "must be a JSON object, found str",
        },
    ),
    Sample(
        "trl.jsonl",
        ("--format", "trl"),
        17,
        (11, 2, 3),
        {
            "9": "needs both `chosen` and `rejected`",
            "10": "are the same text",
            "11": "`label` must be true or false",
            "12": "stepwise supervision",
            "13": "plain text has no prompt",
            "14": "a prompt without an answer",
            "15": "NaN",
            "16": "the key 'prompt' twice",
            "17": "not valid JSON",
        },
    ),
    Sample(
        "openai_chat.jsonl",
        ("--format", "openai"),
        7,
        (3, 0, 0),
        {
            "3": "a tool call",
            "4": "a content that is not text",
            "5": "must end with the assistant's turn",
            "6": "weight 0",
            "7": "needs `messages`",
        },
    ),
    Sample(
        "openai_preference.jsonl",
        ("--format", "openai"),
        4,
        (2, 0, 1),
        {
            "2": "`non_preferred_output` must be",
            "3": "must end with the user's turn",
            "4": "the same text",
        },
    ),
    Sample(
        "open_webui.json",
        ("--format", "open-webui"),
        11,
        (6, 6, 2),
        {
            "5": "no snapshot of the chat",
            "6": "neither 1 nor -1",
            "7": "lacks the rated message",
            "8": "runs in a circle",
            "9": "an image",
            "10": "lies in the future",
            "11": "of type 'note'",
        },
    ),
    Sample(
        "langfuse_traces.json",
        ("--format", "langfuse"),
        5,
        (3, 0, 0),
        {"61": "`input` holds no prompt", "87": "no generation"},
    ),
    Sample(
        "langfuse_scores.json",
        ("--format", "langfuse"),
        9,
        (0, 7, 0),
        {
            "133": "a value has no meaning yet",
            "153": "scores a session or a run",
            "173": "isn't in the store",
        },
        "langfuse_traces.json",
    ),
    Sample(
        "langfuse_scores_v3.json",
        ("--format", "langfuse", "--mapping", "langfuse.yaml"),
        3,
        (0, 2, 0),
        {"36": "scores a session or a run"},
        "langfuse_traces.json",
    ),
    Sample(
        "helpdesk.csv",
        ("--format", "mapping", "--mapping", "helpdesk.yaml"),
        6,
        (3, 2, 0),
        {
            "6": "nothing where the mapping looks for `response`",
            "7": "map it under `values`",
            "8": "3 cells under 7 columns",
        },
    ),
    Sample(
        "arena.json",
        ("--format", "mapping", "--mapping", "arena.yaml"),
        3,
        (4, 0, 2),
        {"6": "`choice` is none of a, b, tie, both_bad"},
    ),
]


@pytest.mark.parametrize("sample", ALL, ids=[sample.file for sample in ALL])
def test_a_sample_goes_in_and_what_cannot_is_told(
    sample: Sample, samples: Path, rlhf: Call
) -> None:
    if sample.first:
        rlhf("votes", "import", sample.first, *sample.options)
    command = ["votes", "import", sample.file, *sample.options, "--json"]
    code, out, err = rlhf(*command)
    told = json.loads(out)
    assert code == 1 and told["rows"] == sample.rows
    assert (told["interactions"], told["feedback"], told["comparisons"]) == sample.made
    assert told["refused"] == len(sample.refused)

    lines = [line for line in err.splitlines() if line.startswith(f"{sample.file}:")]
    assert len(lines) == len(sample.refused)
    for (place, words), line in zip(sample.refused.items(), lines, strict=True):
        assert line.startswith(f"{sample.file}:{place}: ") and words in line
    kept = [json.loads(line) for line in Path(told["rejected_file"]).read_text().splitlines()]
    assert [row["reason"] for row in kept] == [line.split(": ", 1)[1] for line in lines]
    rows = "row" if len(lines) == 1 else "rows"
    assert f"{len(lines)} {rows} refused, more than --max-rejected 0" in err

    code, out, _ = rlhf(*command, "--max-rejected", str(len(lines)))
    again = json.loads(out)
    assert code == 0 and again["imported"] == 0
    assert again["already_in"] == told["imported"] == sample.rows - len(lines)


def imported(rlhf: Call, *arguments: str) -> Store:
    """The store after an import that may refuse rows."""
    code, _, err = rlhf("votes", "import", *arguments, "--store", "s.db", "--max-rejected", "99")
    assert code == 0, err
    return Store.open("s.db")


# Voters of the samples, who are known by pseudonyms in the store.
VOTERS = ("import", "lab", "u", "u-9", "a-1", "li", "7", "8", "langfuse-eval")


def plain(store: Store, voter: str) -> str:
    """Who a pseudonym stands for, if that is one of the samples' voters."""
    return {store.pseudonym(name): name for name in VOTERS}.get(voter, "another")


def said(store: Store) -> list[tuple[Any, ...]]:
    texts = {row.id: row.response for row in store.interactions()}
    return [
        (texts[w.interaction], plain(store, w.voter), w.kind, w.value or w.text, w.metric)
        for w in store.feedback()
    ]


def test_a_dialogue_keeps_turns_style_and_intent(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "dialogue.json", "--format", "dialogue") as store:
        first, second = store.interactions()
        assert first.messages[0].content == "我最近失眠怎么办?"
        assert first.response.startswith("睡前一小时")
        assert (first.style_asked, first.intent) == ("专业且关怀", "健康咨询")
        assert [m.role for m in second.messages] == ["user", "assistant", "user"]
        assert list(store.feedback()) == []


def test_liked_makes_examples_trainable(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "dialogue.json", "--format", "dialogue", "--liked") as store:
        assert [word[1:4] for word in said(store)] == [("import", "thumb", 1.0)] * 2


def test_trl_pairs_and_labels(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "trl.jsonl", "--format", "trl", "--voter", "lab") as store:
        texts = {row.id: row for row in store.interactions()}
        pairs = [
            (texts[c.a].response, texts[c.b].response, c.choice, plain(store, c.voter))
            for c in store.comparisons()
        ]
        assert pairs == [
            ("blue.", "green.", "a", "lab"),
            ("It is blue.", "It is green.", "a", "lab"),
            ("Blue too.", "Red.", "a", "lab"),
        ]
        assert [word[0::3] for word in said(store)] == [("blue.", 1.0), ("It is green.", -1.0)]
        # Both answers of a pair are of one conversation, so that a split can't part them.
        for choice in store.comparisons():
            assert texts[choice.a].conversation == texts[choice.b].conversation


def test_openai_teaches_every_answer_that_has_weight(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "openai_chat.jsonl", "--format", "openai") as store:
        paris, day, help = store.interactions()
        assert paris.response == "No: Paris." and paris.messages[2].content == "Berlin"
        assert (day.turn, help.turn) == (0, 1) and day.conversation == help.conversation
        assert [m.role for m in day.messages] == ["system", "user"]
        assert day.messages[1].content == "Hello\nthere"


def test_open_webui_votes_choices_and_models(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "open_webui.json", "--format", "open-webui") as store:
        answers = list(store.interactions())
        first = answers[0]
        assert first.response == "Go to bed at the same time each day."  # without its reasoning
        assert first.messages[0].content == "Be brief." and first.policy == "llama3.1:8b"
        assert first.created_at == datetime.fromtimestamp(1760000000, UTC)
        assert answers[1].policy == "openai-gpt-4o"
        follow_up = next(a for a in answers if a.response.startswith("Leave"))
        assert follow_up.turn == 1 and len(follow_up.messages) == 3
        assert follow_up.conversation == first.conversation

        words = list(store.feedback())
        assert [(w.kind, w.value or w.text) for w in words[:3]] == [
            ("thumb", 1.0),
            ("comment", "Helped me."),
            ("implicit", 9.0),  # the scale refines the thumb: it is not a second vote
        ]
        assert words[0].reasons == ("accurate_information", "tag:Health")
        assert words[0].created_at == datetime.fromtimestamp(1760000201, UTC)
        assert all(w.voter.startswith("anon.") for w in words)
        # A thumb beside another model's answer is a choice; beside the same model's it is none.
        texts = {a.id: a.response for a in answers}
        assert [(texts[c.a], c.choice, texts[c.b]) for c in store.comparisons()] == [
            (first.response, "a", "Drink coffee."),
            ("Drink coffee.", "b", first.response),
        ]
        # In the arena the rated model is the one that answered, not the arena's stand-in.
        arena = next(
            a for a in answers if a.response == "Drink coffee." and a.user == store.pseudonym("u-2")
        )
        assert arena.policy == "openai-gpt-4o"


def test_open_webuis_changed_mind_supersedes(samples: Path, rlhf: Call) -> None:
    rows = json.loads(Path("open_webui.json").read_text())[1:2]
    Path("now.json").write_text(json.dumps(rows))
    rows[0]["data"]["rating"] = 1
    rows[0]["updated_at"] += 60
    Path("later.json").write_text(json.dumps(rows))
    imported(rlhf, "now.json", "--format", "open-webui").close()
    with imported(rlhf, "later.json", "--format", "open-webui") as store:
        (vote,) = store.feedback()
        assert (vote.value, vote.revision) == (1.0, 2)


def test_langfuse_scores_are_votes_only_where_their_name_says_so(samples: Path, rlhf: Call) -> None:
    imported(rlhf, "langfuse_traces.json", "--format", "langfuse").close()
    with imported(rlhf, "langfuse_scores.json", "--format", "langfuse") as store:
        far = "Two kilometres, or in other words quite a way."
        assert said(store) == [
            ("Walk north.", "u-9", "thumb", 1.0, "thumb"),
            ("Walk north.", "u-9", "comment", "Clear.", "comment"),
            (far, "a-1", "thumb", -1.0, "thumb"),
            ("Walk north.", "another", "implicit", None, "implicit"),
            ("Walk north.", "another", "implicit", 0.9, "implicit"),
            (far, "a-1", "correction", "Take the bus.", "correction"),
            (far, "a-1", "comment", "Too long.", "comment"),
        ]
        scores = [w for w in store.feedback() if w.simulated]
        assert [w.kind for w in scores] == ["implicit"] * 2
        assert len({w.voter for w in scores}) == 2  # neither supersedes the other
        walk, _, bus = store.interactions()
        assert (walk.latency_ms, walk.user) == (1250.0, store.pseudonym("u-9"))
        assert (bus.response, bus.policy) == ("The 12.", "gpt-4o")


def test_a_mapping_gives_langfuse_scores_their_meaning(samples: Path, rlhf: Call) -> None:
    options = ("--format", "langfuse", "--mapping", "langfuse.yaml")
    imported(rlhf, "langfuse_traces.json", *options).close()
    with imported(rlhf, "langfuse_scores_v3.json", *options) as store:
        assert said(store) == [
            ("The 12.", "import", "thumb", 1.0, "thumb"),
            ("Walk north.", "import", "rating", 5.0, "rating"),
        ]
    _, _, err = rlhf("votes", "import", "langfuse_scores.json", *options)
    assert "the mapping skips scores named 'hallucination'" in err


def test_a_langfuse_trace_brings_its_generations_and_scores(here: Path, rlhf: Call) -> None:
    score = {"id": "s", "name": "user-feedback", "source": "API", "value": 1}
    step = {"id": "o", "type": "GENERATION", "startTime": "2025-01-01T00:00:00Z"}
    step |= {"input": "a?", "output": "b."}
    trace = {"id": "t", "input": "q?", "output": "r.", "userId": "u"}
    trace |= {"observations": [step], "scores": [score]}
    Path("t.json").write_text(json.dumps(trace))
    with imported(rlhf, "t.json", "--format", "langfuse") as store:
        assert [a.response for a in store.interactions()] == ["r.", "b."]
        assert said(store) == [("r.", "u", "thumb", 1.0, "thumb")]


def test_csv_by_a_mapping(samples: Path, rlhf: Call) -> None:
    mapped = ("--format", "mapping", "--mapping", "helpdesk.yaml")
    with imported(rlhf, "helpdesk.csv", *mapped) as store:
        lamp, order, pay = store.interactions()
        assert order.messages[0].content == "Where is my order?\nIt is late."
        assert (lamp.consent, pay.consent, lamp.style_asked) == (True, False, "formal")
        assert order.created_at == datetime.fromtimestamp(1756720000, UTC)
        up, down = store.feedback()
        assert (plain(store, up.voter), up.value, down.value) == ("li", 1.0, -1.0)


def test_foreign_turns_by_a_mapping(samples: Path, rlhf: Call) -> None:
    with imported(rlhf, "arena.json", "--format", "mapping", "--mapping", "arena.yaml") as store:
        assert [c.choice for c in store.comparisons()] == ["a", "tie"]
        assert {plain(store, c.voter) for c in store.comparisons()} == {"7", "8"}
        assert next(store.interactions()).messages[0].role == "user"


def test_a_page_without_its_list_is_told(samples: Path, rlhf: Call) -> None:
    Path("arena.json").write_text('{"export": {"fights": []}}')
    command = ("votes", "import", "arena.json", "--format", "mapping", "--mapping", "arena.yaml")
    code, _, err = rlhf(*command)
    assert code == 1 and "arena.json:1: has no list at the mapping's `rows`" in err
    Path("arena.json").write_text("")
    code, _, err = rlhf(*command)
    assert code == 1 and "arena.json: holds no rows" in err


def test_refused_rows_go_where_one_says(samples: Path, rlhf: Call) -> None:
    command = ("votes", "import", "trl.jsonl", "--format", "trl", "--max-rejected", "9")
    code, out, _ = rlhf(*command, "--rejected", "bad.jsonl")
    assert code == 0 and "9 refused" in out
    assert len(Path("bad.jsonl").read_text().splitlines()) == 9
    assert not Path("trl.jsonl.rejected.jsonl").exists()
    code, _, err = rlhf(*command, "--rejected", "trl.jsonl")
    assert code == 2 and "holds something else" in err
    assert len(Path("trl.jsonl").read_text().splitlines()) == 17


def test_projects_do_not_share_rows(samples: Path, rlhf: Call) -> None:
    for project in ("one", "two"):
        imported(rlhf, "dialogue.json", "--format", "dialogue", "--project", project).close()
    with Store.open("s.db") as store:
        assert [row.project for row in store.interactions()] == ["one"] * 2 + ["two"] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dialogue.json", "--format", "csv"], "known are dialogue, trl, openai, open-webui"),
        (["dialogue.json", "--format", "mapping"], "name the mapping file with --mapping"),
        (["trl.jsonl", "--format", "trl", "--mapping", "arena.yaml"], "columns of its own"),
        (["gone.json", "--format", "trl"], "no such file"),
        (["arena.json", "--format", "mapping", "--mapping", "bad.yaml"], "did you mean `prompt`"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], words: str, samples: Path, rlhf: Call
) -> None:
    Path("bad.yaml").write_text("fields: {promt: conv}")
    code, out, err = rlhf("votes", "import", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and words in err
    assert not Path("runs").exists()


def test_one_is_told_as_one(here: Path, rlhf: Call) -> None:
    row = {"context": "用户:退货怎么办?", "response": "模型:请到订单页点退货。"}
    (here / "one.jsonl").write_text(json.dumps(row) + "\n")
    code, out, err = rlhf("votes", "import", "one.jsonl", "--format", "dialogue", "--store", "f.db")
    assert code == 0, err
    told = "1 of 1 row imported (1 interaction, 0 votes, 0 comparisons), 0 were in already"
    assert told in out and "1 holds no vote, so only its prompt trains" in out

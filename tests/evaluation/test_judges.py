import pytest
from pydantic import TypeAdapter, ValidationError

from feedback_store import Comparison, Interaction, Store
from rewards import Component
from rlhf.evaluation.evaluate import EvaluationSettings
from rlhf.evaluation.judges import (
    JudgeSettings,
    RewardJudge,
    RewardJudgeSettings,
    VotesJudgeSettings,
    build_judge,
    stored_verdicts,
)
from rlhf.evaluation.llm_judge import LlmJudge, LlmJudgeSettings
from rlhf.sampling import Prompt

HELLO = Prompt(({"role": "user", "content": "Hi"},))

TASTE = """
def brief(prompts, completions, **columns):
    return [None if not c[0]["content"] else -float(len(c[0]["content"])) for c in completions]

def broken(prompts, completions, **columns):
    raise RuntimeError("no")

def wants(prompts, completions, *, keyword, **columns):
    return [float(k in c[0]["content"]) for k, c in zip(keyword, completions)]
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "taste.py").write_text(TASTE)
    return tmp_path


def test_a_users_reward_judges_and_its_margin_makes_ties(base):
    judge = RewardJudge([Component(name="taste.py:brief")], base=base, margin=2.0)
    a, b = ["x", "long answer", "abc", ""], ["much longer", "short", "abcde", "something"]
    assert judge.judge([HELLO] * 4, a, b) == ["a", "b", "tie", None]
    assert judge.judge([HELLO] * 4, b, a) == ["b", "a", "tie", None]
    assert "taste.py:brief" in judge.name and not judge.simulated


def test_a_reward_that_fails_gives_no_verdict(base):
    judge = RewardJudge([Component(name="taste.py:broken")], base=base)
    assert judge.judge([HELLO] * 2, ["x", "y"], ["p", "q"]) == [None, None]


def test_columns_reach_the_reward(base):
    settings = RewardJudgeSettings(rewards=(Component(name="taste.py:wants"),), simulated=True)
    judge = build_judge(settings, base, {"keyword": ["tea", "milk"]})
    assert judge.judge([HELLO] * 2, ["tea", "tea"], ["milk", "milk"]) == ["a", "b"]
    assert judge.simulated


def test_yaml_chooses_the_judge():
    read = TypeAdapter(JudgeSettings).validate_python
    assert isinstance(read({"kind": "votes"}), VotesJudgeSettings)
    assert isinstance(read({"kind": "reward", "rewards": [{"name": "style"}]}), RewardJudgeSettings)
    llm = read({"kind": "llm", "url": "http://localhost:1/v1", "model": "m"})
    assert isinstance(llm, LlmJudgeSettings) and isinstance(build_judge(llm), LlmJudge)
    for wrong in ({"kind": "dice"}, {"kind": "reward", "rewards": []}, {"kind": "votes", "x": 1}):
        with pytest.raises(ValidationError):
            read(wrong)


def test_an_unset_evaluation_key_is_refused():
    with pytest.raises(ValidationError, match="prompt"):
        EvaluationSettings.model_validate({"prompt": 3, "judge": {"kind": "votes"}})


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "votes.db") as store:
        yield store


def answer(id, policy, conversation, project="default"):
    messages = [{"role": "user", "content": "Hi"}]
    return Interaction(
        id=id,
        policy=policy,
        conversation=conversation,
        project=project,
        messages=messages,
        response=f"from {policy}",
    )


def test_fresh_votes_between_the_two_count_from_the_candidates_side(store):
    store.append(
        interactions=[
            *(answer(f"new{i}", "new", f"talk{i // 2}") for i in range(6)),
            *(answer(f"old{i}", "old", f"talk{i // 2}") for i in range(6)),
            answer("other", "third", "talk9"),
        ]
    )
    early = Comparison(a="new0", b="old0", voter="ann", choice="b")
    watermark = store.append(comparisons=[early])
    store.append(
        comparisons=[
            Comparison(a="new1", b="old1", voter="ann", choice="a"),
            Comparison(a="old2", b="new2", voter="ann", choice="a", simulated=True),
            Comparison(a="old3", b="new3", voter="bob", choice="tie"),
            Comparison(a="new4", b="old4", voter="bob", choice="both_bad"),
            Comparison(a="new5", b="other", voter="bob", choice="a"),
            Comparison(a="old4", b="old5", voter="bob", choice="a"),
        ]
    )
    found = stored_verdicts(store, "new", "old", after=watermark)
    assert found.outcomes == (1.0, 0.0, 0.5, 0.5)
    assert found.conversations == ("talk0", "talk1", "talk1", "talk2")
    assert found.simulated == 1
    trusted = stored_verdicts(store, "new", "old", after=watermark, trusted={"bob"})
    assert trusted.outcomes == (0.5, 0.5)
    assert stored_verdicts(store, "old", "new", after=watermark).outcomes == (0.0, 1.0, 0.5, 0.5)
    assert len(stored_verdicts(store, "new", "old", after=0).outcomes) == 5


def test_a_changed_or_withdrawn_vote_counts_as_it_stands(store):
    store.append(interactions=[answer("n", "new", "t"), answer("o", "old", "t")])
    start = store.append(
        interactions=[answer("n2", "new", "t", "shop"), answer("o2", "old", "t", "shop")]
    )
    store.append(comparisons=[Comparison(a="n", b="o", voter="ann", choice="a")])
    store.append(comparisons=[Comparison(a="n", b="o", voter="ann", choice="b")])
    store.append(comparisons=[Comparison(project="shop", a="n2", b="o2", voter="ann", choice="a")])
    assert stored_verdicts(store, "new", "old", after=start).outcomes == (0.0, 1.0)
    assert stored_verdicts(store, "new", "old", after=start, project="shop").outcomes == (1.0,)
    store.withdraw_comparison("n", "o", "ann")
    assert stored_verdicts(store, "new", "old", after=start).outcomes == (1.0,)

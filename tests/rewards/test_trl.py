"""TRL's rewards work here, and ours in TRL's way of calling."""

from importlib import import_module

import pytest
from scoring_server import said, scored, scoring

from rewards import BadParameter, Component, combine, list_rewards, resolve
from rewards.registry import BUILT_IN

PROMPT = [{"role": "user", "content": "睡不好怎么办?"}]
THOUGHT = [{"role": "assistant", "content": "<think>\nwhy\n</think>\nSleep early."}]
PLAIN = [{"role": "assistant", "content": "Sleep early."}]


def test_a_trl_reward_by_its_import_path():
    rows = combine(
        [Component(name="trl.rewards.think_format_reward", weight=0.5)],
        [PROMPT, PROMPT],
        [THOUGHT, PLAIN],
    )
    assert [(row.total, row.scores[0].name) for row in rows] == [
        (0.5, "think_format_reward"),
        (0.0, "think_format_reward"),
    ]


def test_a_trl_reward_in_a_process_of_its_own_with_ids():
    name = "trl.rewards.get_repetition_penalty_reward"
    part = Component(name=name, params={"ngram_size": 2}, process=True)
    columns = {"completion_ids": [[5, 5, 5, 5, 5], [1, 2, 3]]}
    rows = combine([part], [PROMPT, PROMPT], [THOUGHT, PLAIN], columns=columns)
    assert [row.total for row in rows] == [-0.75, 0.0]


def test_a_trl_rewards_option_is_a_parameter_and_its_column_is_not():
    spec = resolve("trl.rewards.reasoning_accuracy_reward")
    assert dict(spec.params) == {"reasoning_delimiters": None}
    with pytest.raises(BadParameter, match="reasoning_delimiters"):
        spec.signature.check(spec.name, {"solution": "x"})


FACTORIES = {"http", "judge"}  # they need an address, and make a reward of TRL's signature


@pytest.fixture
def service():
    """Answers both kinds of request with a mark a row."""

    def answer(body, number):
        return said('{"score": 5}') if "messages" in body else scored([0.5] * 2)

    with scoring(answer) as (url, _):
        yield url


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("conversational", [True, False])
def test_built_ins_take_what_grpo_passes(name, conversational, service):
    fn = getattr(import_module(f"rewards.{name}"), name)
    made = {"http": lambda: fn(service), "judge": lambda: fn(service, "m")}
    scores = (made[name]() if name in FACTORIES else fn)(
        prompts=[PROMPT, PROMPT] if conversational else ["睡不好怎么办?"] * 2,
        completions=[THOUGHT, PLAIN] if conversational else ["Sleep early."] * 2,
        completion_ids=[[1, 2, 3], [1, 2]],
        style=["formal", None],
        target=["a data set's own column", "of a parameter's name"],
        trainer_state=object(),
        log_extra=lambda column, values: None,
        log_metric=lambda name, value: None,
    )
    assert len(scores) == 2 and all(s is None or isinstance(s, float) for s in scores)


def test_this_covers_every_built_in():
    built_in = {s.name for s in list_rewards() if s.source.startswith("rewards.")}
    assert built_in == set(BUILT_IN)
    assert {s.name for s in list_rewards() if s.signature.factory} == {*FACTORIES, "reward_model"}

from importlib.metadata import EntryPoint

import pytest

from rewards import (
    BadParameter,
    RewardError,
    UnknownReward,
    bind,
    list_rewards,
    registry,
    resolve,
    reward,
)
from rewards.length import length

ROWS = {"prompts": ["?", "?"], "completions": ["short", "a longer one"]}

USER_FILE = '''
"""A user's own rewards."""
from rewards import reward

def chars(prompts, completions, *, scale=1.0, **columns):
    """Count characters."""
    return [len(c) * scale for c in completions]

@reward("user-polite", veto=True, version="7")
def polite(completions, **columns):
    return [0.0 for _ in completions]

async def slow(prompts, completions):
    return []

not_a_function = 3
'''


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE, encoding="utf-8")
    yield path
    registry._registered.pop("user-polite", None)


def test_built_ins_are_listed_with_what_they_declare():
    specs = {spec.name: spec for spec in list_rewards()}
    assert {"compliance", "length", "repetition", "style"} <= specs.keys()
    assert specs["compliance"].veto and not specs["length"].veto
    assert specs["length"].params["high"] == 80
    assert specs["length"].source == "rewards.length:length"
    assert specs["length"].doc.startswith("Score in [0, 1]")


def test_a_users_file_needs_no_decorator(user_file):
    spec = resolve("mine.py:chars", base=user_file.parent)
    assert (spec.name, spec.veto, spec.params) == ("chars", False, {"scale": 1.0})
    assert bind(spec, {"scale": 2})(**ROWS) == [10, 24]
    assert resolve(spec.source).fn is spec.fn  # the source leads back, from anywhere


def test_a_file_is_found_from_the_working_folder_too(user_file, monkeypatch):
    monkeypatch.chdir(user_file.parent)
    assert resolve("mine.py:chars", base=user_file.parent / "elsewhere").name == "chars"


def test_an_edited_file_is_read_again_under_another_version(user_file):
    first = resolve(f"{user_file}:chars")
    user_file.write_text(USER_FILE.replace("scale=1.0", "scale=5.0"), encoding="utf-8")
    second = resolve(f"{user_file}:chars")
    assert second.params == {"scale": 5.0} and first.version != second.version


def test_a_decorated_function_keeps_its_declaration_by_path_and_by_name(user_file):
    spec = resolve(f"{user_file}:polite")
    assert (spec.name, spec.veto, spec.version) == ("user-polite", True, "7")
    assert resolve("user-polite") is spec


def test_import_paths_with_colon_and_dot():
    assert resolve("rewards.length:length") is resolve("rewards.length.length") is resolve("length")


def test_a_notebooks_reward_has_no_file(monkeypatch):
    cell = {"__name__": "__main__", "reward": reward}
    monkeypatch.delattr("__main__.__file__", raising=False)
    exec("@reward('in-a-cell')\ndef f(completions, **columns): return [1.0]", cell)
    assert registry._registered.pop("in-a-cell").source == "__main__:f"


def test_entry_points_are_found_by_name(monkeypatch):
    point = EntryPoint("from-plugin", "rewards.length:length", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert resolve("from-plugin").source == "rewards.length:length"


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("lenght", "no reward 'lenght'; did you mean 'length'?"),
        ("nowhere.py:f", "no file"),
        ("mine.py:char", "did you mean 'chars'?"),
        ("rewards.length:lenght", "did you mean 'length'?"),
        ("no_such_package:f", "No module named 'no_such_package'"),
    ],
)
def test_unknown_rewards(ref, message, user_file):
    with pytest.raises(UnknownReward) as raised:
        resolve(ref, base=user_file.parent)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_what_cannot_be_a_reward_is_refused(user_file):
    with pytest.raises(RewardError, match="is async"):
        resolve(f"{user_file}:slow")
    with pytest.raises(RewardError, match="is a int"):
        resolve(f"{user_file}:not_a_function")
    user_file.write_text("1 / 0")
    with pytest.raises(RewardError, match=r"can't load .*ZeroDivisionError"):
        resolve(f"{user_file}:chars")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hihg": 3}, "no parameter 'hihg'; did you mean 'high'?"),
        ({"high": "60"}, "'high' can't be '60'"),
        ({"exact": 1}, "'exact' can't be 1"),
        ({"high": True}, "'high' can't be True"),
        ({"high": object()}, "is a object"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(BadParameter) as raised:
        bind(resolve("length"), params)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_name_belongs_to_one_reward():
    with pytest.raises(RewardError, match=r"'length' exists already, from rewards\.length"):

        @reward("length")
        def other(completions, **columns):
            return []


def test_a_parameter_that_was_set_wins_over_a_column_and_a_column_over_a_default(user_file):
    user_file.write_text("def f(completions, *, solution=None): return [solution] * 2\n")
    spec = resolve(f"{user_file}:f")
    assert bind(spec)(**ROWS, solution=["a", "b"]) == [["a", "b"]] * 2
    assert bind(spec, {"solution": "set"})(**ROWS, solution=["a", "b"]) == ["set", "set"]
    assert bind(spec)(**ROWS, unasked=[1, 2]) == [None, None]


def test_a_column_called_like_a_number_parameter_is_no_parameter():
    expected = length(**ROWS)
    assert length(**ROWS, low=[1, 2], high=["x", "y"]) == expected
    assert bind(resolve("length"))(**ROWS, low=[1, 2]) == expected


def test_a_path_parameter_is_found_beside_the_configuration(tmp_path):
    (tmp_path / "mine.yaml").write_text("- {name: shout, forbid: ['SHORT']}")
    bound = bind(resolve("compliance"), {"rules": "mine.yaml"}, base=tmp_path)
    assert bound(**ROWS) == [-1.0, 0.0]


def test_a_factory_is_called_with_its_parameters():
    spec = resolve("trl.rewards.get_soft_overlong_punishment")
    params = {"max_completion_len": 100, "soft_punish_cache": 20}
    assert bind(spec, params)(["?"], ["x"], completion_ids=[[1] * 90]) == [-0.5]
    with pytest.raises(BadParameter, match="needs the parameter 'soft_punish_cache'"):
        bind(spec, {"max_completion_len": 100})
    with pytest.raises(BadParameter, match="should not be positive"):
        bind(resolve("trl.rewards.get_repetition_penalty_reward"), {"max_penalty": 1.0})

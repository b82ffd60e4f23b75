import json
import sys

import pytest

from rlhf import cli

MINE = '''
def mine(prompts, completions, *, words=("today",), **columns):
    """Want a day.

    It has to be near.
    """
    return [1.0 for _ in completions]
'''


@pytest.fixture
def rewards_list(tmp_path, monkeypatch, capsys):
    """Run the command beside a file of rewards; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rlhf", "rewards", "list", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        return stop.value.code or 0, told.out, told.err

    return call


def test_every_reward_with_its_source_and_version(rewards_list):
    code, out, _ = rewards_list("--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and {"relevance", "http", "reward_model"} <= rows.keys()
    assert rows["relevance"]["source"] == "shipped"
    assert rows["relevance"]["location"] == "rewards.relevance:relevance"
    assert rows["http"]["params"]["url"] == "(required)"
    assert rows["compliance"]["veto"] and rows["compliance"]["version"] == "1"
    assert rewards_list()[0] == 0


def test_a_file_and_an_import_path(rewards_list):
    named = ("mine.py:mine", "trl.rewards.think_format_reward")
    code, out, _ = rewards_list(*named, "--json")
    mine, trl = json.loads(out)
    assert (mine["name"], mine["source"], mine["doc"]) == ("mine", "file", "Want a day.")
    assert len(mine["version"]) == 12 and trl["source"] == "import"
    code, out, _ = rewards_list("mine.py:mine")
    assert code == 0 and "words=('today',)" in out and "It has to be near." in out


def test_a_mistake_is_one_line(rewards_list):
    code, out, err = rewards_list("relevanse")
    assert (code, out) == (1, "") and "did you mean 'relevance'?" in err and err.count("\n") == 1

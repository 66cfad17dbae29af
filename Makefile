# Two commands set everything up on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# Where pip finds torch, for example TORCH_INDEX=https://download.pytorch.org/whl/cpu for a CPU build on Linux.
TORCH_INDEX ?=
# The versions that are installed; without a file, the newest.
PINS ?= constraints.txt
EXTRAS ?= test,lint,docs
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -q $(if $(PINS),-c $(PINS)) \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# Tests share the cores; `make test WORKERS=0` runs them in one process.
WORKERS ?= auto
IN_PARALLEL = -n $(WORKERS) --maxprocesses 8 --dist worksteal

ifeq ($(OS),Windows_NT)
BIN = $(VENV)/Scripts
else
BIN = $(VENV)/bin
endif

LOWEST = $(VENV)-lowest

.PHONY: demo test test-fast test-lowest test-newest lint budgets format bench docs pictures site clean

demo: $(VENV)/.user
	$(BIN)/convcost compare --c 3 --o 64 --k 3

test: $(VENV)/.developer
	$(BIN)/python -m pytest $(IN_PARALLEL)

# What is neither slow nor measures real time: under a minute.
test-fast: $(VENV)/.developer
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow and not timing"

# The ends of the ranges in pyproject.toml, each in an environment of its own: its lower bounds, and nothing pinned.
# Both count the networks against convcost.lock, which another torch wrote.
test-lowest: $(LOWEST)/pins.txt
	$(MAKE) budgets test VENV=$(LOWEST) PINS=$(LOWEST)/pins.txt EXTRAS=test

test-newest:
	$(MAKE) budgets test VENV=$(VENV)-newest PINS= EXTRAS=test

lint: $(VENV)/.developer
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	$(BIN)/python docs/published.py --check
	$(BIN)/python docs/pictures.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

budgets: $(VENV)/.developer
	$(BIN)/convcost check --config configs/budgets.toml --strict

format: $(VENV)/.developer
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.developer
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/published.py

# What commands print on a terminal, times included.
pictures: $(VENV)/.developer
	$(BIN)/python docs/pictures.py

# The web site, in build/site; a broken link is an error.
site: $(VENV)/.developer
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.developer
	$(BIN)/python benchmarks/run.py

$(VENV)/.user: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.developer: $(VENV)/.user
	$(PIP_INSTALL) -e ".[$(EXTRAS)]"
	touch $@

$(LOWEST)/pins.txt: pyproject.toml
	mkdir -p $(@D)
	sed -n 's/^    "\([a-z0-9-]*\)>=\([^"]*\)".*/\1==\2/p' pyproject.toml > $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

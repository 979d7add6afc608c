# Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH  := $(VENV)/.bench
# Another emulator of Bedrock's sessions; it needs a botocore of its own.
MINISTACK := $(VENV)/ministack
# Each framework has an environment of its own: they bring much, and may not go together.
FRAMEWORKS := agent-framework burr crewai google-adk langchain llama-index openai-agents pydantic-ai strands
# Suites of tests that frameworks have for what implements their interfaces.
SUITE_OF_langchain := langchain-tests>=1.1
# What the tests in their own source distributions import; tests/contrib/foreign runs some of them.
SUITE_OF_crewai := pytest-asyncio>=1.2
SUITE_OF_openai-agents := aiosqlite>=0.20 cryptography>=44 pytest-asyncio>=1.2
SUITE_OF_strands := moto>=5.1 pytest-asyncio>=1.2
# For make bench: --quick, --readme ...; see docs/benchmarks.md.
OPTIONS ?=
# For make demo: the folder to digest; this project's own documents if there is none.
FOLDER ?=
# Of make nightly: the same seed makes the same examples.
SEED   ?= $(shell date +%Y%m%d)
TYPED  := src tests $(wildcard examples/*.py) $(wildcard benchmarks/*.py)

.PHONY: demo test check check-lint check-format check-types check-layers frameworks $(FRAMEWORKS:%=check-%) bench nightly second-opinion clean

demo: $(READY)
	$(BIN)/python examples/file_digest.py $(FOLDER)

test: $(READY)
	$(BIN)/python -m pytest -n 3 --dist loadgroup

# One target per tool: `make -k check` runs all four even if the first one fails.
check: check-lint check-format check-types check-layers

check-lint: $(READY)
	$(BIN)/ruff check .

check-format: $(READY)
	$(BIN)/ruff format --check .

check-types: $(READY)
	$(BIN)/mypy $(TYPED)

check-layers: $(READY)
	$(BIN)/lint-imports

frameworks: $(FRAMEWORKS:%=check-%)

# The bridge to a framework is a module of contrib, or a package, with a module of tests.
$(FRAMEWORKS:%=check-%): check-%: $(VENV)/%/.ready
	$(VENV)/$*/bin/python -m pytest tests/contrib/test_$(subst -,_,$*).py \
		$(wildcard $(addprefix src/statekeep/contrib/$(subst -,_,$*),.py /*.py))
	$(if $(wildcard tests/contrib/foreign/of_$(subst -,_,$*).py),PYTHONPATH=tests/contrib $(VENV)/$*/bin/python -m foreign $*)

bench: $(BENCH)
	$(BIN)/python -m benchmarks $(OPTIONS)

nightly: $(READY)
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=0 --hypothesis-seed=$(SEED) tests/property tests/integration/faults
	$(MAKE) --keep-going frameworks

second-opinion: $(READY) $(MINISTACK)/bin/ministack
	STATEKEEP_MINISTACK=$(abspath $(MINISTACK))/bin/ministack $(BIN)/python -m pytest tests/integration/bedrock/test_second_opinion.py \
		tests/integration/agentcore/test_agentcore_second_opinion.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The pip that comes with Python may be too old for dependency groups (25.1), hence its upgrade.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

$(MINISTACK)/bin/ministack: | $(READY)
	$(PYTHON) -m venv $(MINISTACK)
	$(MINISTACK)/bin/python -m pip install --quiet --disable-pip-version-check ministack==1.5.33

$(VENV)/%/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[valkey,testing,$*]' 'anyio>=4.9' 'blockbuster>=1.5.25' $(SUITE_OF_$*:%='%')
	@touch $@

$(BENCH): $(READY)
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

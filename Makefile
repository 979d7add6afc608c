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
# Releases with which everything was last seen to work: what `make constraints` wrote. CONSTRAINTS= takes the newest of all.
CONSTRAINTS ?= constraints.txt
PINS   := $(CONSTRAINTS:%=--constraint %)
DOCS   := $(VENV)/docs
DIST   := $(VENV)/dist
PYRIGHT := $(VENV)/pyright
WHEEL  := $(VENV)/wheel
# What is run against the installed wheel: an import of every module, every Lua script, and nothing that reads the sources.
OF_WHEEL := tests/unit/test_imports.py tests/unit/domain/test_error_copies.py tests/unit/domain/test_descriptions.py \
	tests/unit/langgraph_shim/test_store.py tests/unit/repositories/test_scripts.py \
	$(addprefix tests/integration/valkey/test_,declared_keys.py item_declared_keys.py cache_contract.py log_contract.py)
# Of make test-servers: what may differ from server to server, but for sizes in memory and names in access control lists;
# and the client, glide or valkey-py.
OF_SERVERS := $(wildcard $(addprefix tests/integration/valkey/test_,*_contract.py *declared_keys.py *expiry.py nasty_ids.py \
	logs.py put_next.py expected_head.py interrupts.py servers.py))
CLIENT ?= valkey-py
# For make bench: --quick, --readme ...; see docs/benchmarks.md.
OPTIONS ?=
# For make demo: the folder to digest; this project's own documents if there is none.
FOLDER ?=
# More than cores, as many tests wait for servers or for time. Neighbours stay together, as they share fixtures.
WORKERS ?= -n 4 --dist worksteal
# Of make nightly: the same seed makes the same examples.
SEED   ?= $(shell date +%Y%m%d)
TYPED  := src tests $(wildcard examples/*.py) $(wildcard benchmarks/*.py) $(wildcard tools/*.py)

# Tests start hundreds of programs: what they import is compiled once.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-servers check check-lint check-format check-types check-layers check-spelling check-more check-workflows \
	check-pyright check-project frameworks $(FRAMEWORKS:%=check-%) docs dist check-wheel bench nightly second-opinion \
	constraints tables clean

demo: $(READY)
	$(BIN)/python examples/file_digest.py $(FOLDER)

test: $(READY)
	$(BIN)/python -m pytest $(WORKERS)

# The server is that of STATEKEEP_TEST_SERVER, if it is set. Without tests of the other client.
test-servers: $(READY)
	$(BIN)/python -m pytest $(WORKERS) -k 'not $(if $(filter glide,$(CLIENT)),valkey-py,glide)' \
		$(OF_SERVERS)

# One target per tool: `make -k check` runs all of them even if the first one fails.
check: check-lint check-format check-types check-layers check-spelling

check-lint: $(READY)
	$(BIN)/ruff check .

check-format: $(READY)
	$(BIN)/ruff format --check .

check-types: $(READY)
	$(BIN)/mypy $(TYPED)

check-layers: $(READY)
	$(BIN)/lint-imports

check-spelling: $(READY)
	$(BIN)/codespell

# What hardly any change can break: workflows of GitHub, what pyproject.toml says, types as pyright sees them.
check-more: check-workflows check-project check-pyright

check-workflows: $(READY)
	$(BIN)/actionlint

check-project: $(DIST)/.ready
	$(DIST)/bin/validate-pyproject pyproject.toml

check-pyright: $(READY) $(PYRIGHT)/.ready
	$(PYRIGHT)/bin/basedpyright

# The site, in build/docs; a warning is an error. `llms.txt` is a part of it.
docs: $(DOCS)/.ready
	$(DOCS)/bin/python -m tools.reference
	$(DOCS)/bin/sphinx-build --fail-on-warning --keep-going --nitpicky --jobs auto --quiet --doctree-dir build/doctrees docs build/docs

# Tables of the reference that come from the code: a test fails if they are not up to date.
tables: $(READY)
	$(BIN)/python -m tools.tables

dist: $(DIST)/.ready
	rm -rf dist
	$(DIST)/bin/python -m build --no-isolation .
	$(DIST)/bin/twine check --strict dist/*
	$(DIST)/bin/check-wheel-contents dist/*.whl
	$(DIST)/bin/pyroma --min 10 --skip-tests AuthorEmail dist/*.tar.gz  # there is no address: issues and the form in SECURITY.md are the way
	$(DIST)/bin/python -m tools.contents dist

# Tests from the sdist, without its src, against the wheel in an environment of its own.
check-wheel: dist
	rm -rf build/sdist $(WHEEL)
	mkdir -p build/sdist
	tar -xzf dist/statekeep-*.tar.gz -C build/sdist --strip-components 1
	rm -r build/sdist/src
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(WHEEL)/bin/python -m pip install --quiet $(PINS) "$$(echo dist/*.whl)[all,otel,testing]" 'anyio>=4.9' 'blockbuster>=1.5.25' \
		'cryptography>=44' 'langgraph>=1.2' 'pytest-xdist>=3.6' 'trustme>=1.2'
	cd build/sdist && PYTHONSAFEPATH=1 PYTHONPATH= $(abspath $(WHEEL))/bin/python -c \
		'import statekeep, sys; sys.exit("site-packages" not in statekeep.__file__ and statekeep.__file__)'
	cd build/sdist && $(abspath $(WHEEL))/bin/python -m pytest $(WORKERS) -p no:cacheprovider $(OF_WHEEL)

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

constraints:
	rm -rf $(VENV)/constraints
	$(PYTHON) -m venv $(VENV)/constraints
	$(VENV)/constraints/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)/constraints/bin/python -m pip install --quiet --editable '.[all]' --group dev
	( echo '# Written by `make constraints`.'; $(VENV)/constraints/bin/python -m pip freeze --exclude-editable ) > constraints.txt
	rm -rf $(VENV)/constraints

clean:
	rm -rf $(VENV) build dist docs/reference/api .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The pip that comes with Python may be too old for dependency groups (25.1), hence its upgrade.
$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet $(PINS) --editable '.[all]' --group dev
	@touch $@

$(DOCS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(DOCS)/bin/python -m pip install --quiet $(PINS) --editable '.[all,otel,testing]' langgraph --group docs
	@touch $@

$(DIST)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DIST)
	$(DIST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(DIST)/bin/python -m pip install --quiet --group dist
	@touch $@

$(PYRIGHT)/.ready: pyproject.toml
	$(PYTHON) -m venv $(PYRIGHT)
	$(PYRIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(PYRIGHT)/bin/python -m pip install --quiet --group pyright
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

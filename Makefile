# make help tells what there is.

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# The first Python that runs and is new enough; make PYTHON=/path/to/python3 chooses another.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
# Tests run in a folder that holds nothing but them, so that they import the installed wheel and not the checkout.
CHECKS := build/checks
TRIAL := cd $(CHECKS) && $(BIN)/python -m twisted.trial --reporter=text
JOBS ?= 2
COVERAGE := $(BIN)/coverage
RC := $(CURDIR)/setup.cfg

FAST_TESTS := tests.test_layers tests.test_conventions tests.test_event_calls tests.unit tests.conformance tests.adapters tests.fuzz
SLOW_TESTS := tests.packaging tests.process

.PHONY: help environment demo test fast-tests slow-tests types lint format coverage docs fuzz soak bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

environment:  ## set up .venv with the libraries and this checkout's built wheel
	@test -n "$(PYTHON)" || { echo "SmartProxy needs Python 3.11 or newer (Debian: apt install python3)" >&2; exit 1; }
	@$(PYTHON) .ci/environment.py

demo: environment  ## show the main job: files across the DMZ, and everything that is stopped there (KEEP=1: leave it running)
	@cd $(CHECKS) && PATH="$(BIN):$$PATH" $(BIN)/python -m smartproxy.testing demo --folder $(CURDIR)/.demo $(if $(KEEP),--keep)

test: fast-tests slow-tests types lint  ## run everything: tests, layers, types, style

fast-tests: environment  ## tests that open no socket (TESTS=tests.unit.test_stream chooses)
	$(TRIAL) --jobs=$(JOBS) $(or $(TESTS),$(FAST_TESTS))

slow-tests: environment  ## whole daemons over real sockets; the wheel in empty environments
	$(TRIAL) $(or $(TESTS),$(SLOW_TESTS))

types: environment  ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy docs/pictures.py docs/rooms.py docs/tables.py docs/transcript.py benchmarks .ci/environment.py

lint: environment  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: environment  ## let ruff bring the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: environment  ## branch coverage; oftp2, policy and relay must have all of it
	cd $(CHECKS) && rm -f .coverage .coverage.*
	cd $(CHECKS) && $(COVERAGE) run --rcfile=$(RC) -m twisted.trial --reporter=text --jobs=$(JOBS) $(FAST_TESTS)
	cd $(CHECKS) && $(COVERAGE) run --rcfile=$(RC) -m twisted.trial --reporter=text tests.process
	cd $(CHECKS) && $(COVERAGE) combine --quiet --rcfile=$(RC)
	cd $(CHECKS) && $(COVERAGE) report --rcfile=$(RC) --skip-covered
	cd $(CHECKS) && $(COVERAGE) report --rcfile=$(RC) --skip-covered --fail-under=100 \
		--include='*/smartproxy/oftp2/*,*/smartproxy/policy/*,*/smartproxy/relay/*'

docs: environment  ## build the documents into docs/_build/html
	$(BIN)/python -P -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

transcript: environment  ## run an operator's session with real daemons and write docs/transcript.md
	$(BIN)/python -P docs/transcript.py

fuzz: environment  ## mutated sessions against the protocol core (EXECUTIONS=10000 of each target, SEED=1)
	cd $(CHECKS) && $(BIN)/python -m tests.fuzz --executions $(or $(EXECUTIONS),10000) --seed $(or $(SEED),1)

soak: environment  ## minutes of sessions, and a flood of strangers, against whole daemons (SOAK_SECONDS=60)
	$(TRIAL) tests.soak

bench: environment  ## how fast octets are judged
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/short_sessions.py
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/subrecord_layouts.py

clean:  ## remove everything that make made
	rm -rf $(VENV) build dist .demo .mypy_cache .ruff_cache .hypothesis .coverage docs/_build *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

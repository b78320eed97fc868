# make help tells what there is.

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# The first Python that runs and is new enough; make PYTHON=/path/to/python3 chooses another.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
EXTRAS := client,backend,postgresql,test,lint,docs
WHEELS := build/wheel
# Tests run in a folder that holds nothing but them, so that they import the installed wheels and not the checkout.
CHECKS := build/checks
TRIAL := cd $(CHECKS) && $(BIN)/python -m twisted.trial --reporter=text
JOBS ?= 2
# Daemons wait for each other more than they compute: one process more than most machines have cores.
SLOW_JOBS ?= 3
COVERAGE := $(BIN)/coverage
RC := $(CURDIR)/setup.cfg

FAST_TESTS := tests.test_layers tests.test_conventions tests.test_event_calls tests.test_requirements \
	tests.test_checks tests.unit tests.conformance tests.adapters tests.fuzz
# The longest first, so that the processes that share them end together.
SLOW_TESTS := tests.process.test_administration tests.process.test_ctl tests.process.test_demo tests.packaging \
	tests.process.test_page_everywhere tests.process.test_several tests.process.test_licence_renewal tests.process

.PHONY: help environment python wheels demo test fast-tests slow-tests types lint format coverage docs news fragments transcript \
	fuzz mutants soak bench bench-growth bench-workers bench-far bench-starvation bench-parts bench-lists bench-calls bench-floods bench-page screenshots page-pictures clean FORCE

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

environment: $(VENV)/installed  ## set up .venv with the libraries and this checkout's built wheels
	@mkdir -p $(CHECKS)
	@test -L $(CHECKS)/tests || ln -s ../../tests $(CHECKS)/tests
	@cd $(CHECKS) && $(BIN)/python -c 'import smartproxy, smartproxy.testing as kit; \
		assert "site-packages" in smartproxy.__file__ and "site-packages" in kit.__file__, (smartproxy, kit)' \
		|| { echo "environment: tests would not run against the installed wheels" >&2; exit 1; }

python:
	@test -n "$(PYTHON)" || { echo "SmartProxy needs Python 3.11 or newer (Debian: apt install python3)" >&2; exit 1; }

wheels: $(WHEELS)/made  ## build the two wheels into build/wheel: smartproxy, and smartproxy-testing

# What is made again, and when. A stamp is as old as what it stands for; a list changes only when its lines do.

# The virtual environment: when Python is another, does not run any more, or the checkout has moved.
$(VENV)/made: python FORCE
	@made="$(CURDIR) $$($(PYTHON) -VV | tr '\n' ' ')"; \
	if [ "$$made" = "$$(cat $@ 2>/dev/null)" ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "environment: $(PYTHON) has no module ensurepip, which" \
		"makes virtual environments with pip; install it (Debian: apt install python3-venv)" >&2; exit 1; }; \
	echo "environment: making $(VENV) with $$($(PYTHON) -V)"; \
	$(PYTHON) -m venv --clear $(VENV) && echo "$$made" > $@

$(VENV)/tools: $(VENV)/made pyproject.toml constraints.txt
	@echo "environment: installing the build tools"
	@$(PIP) install --constraint constraints.txt setuptools
	@touch $@

SOURCES := $(shell find smartproxy twisted packaging/testing \( -name __pycache__ -o -name build -o -name '*.egg-info' \) \
	-prune -o -type f ! -name dropin.cache -print | LC_ALL=C sort)

build/sources: FORCE
	@mkdir -p build
	@printf '%s\n' $(SOURCES) | cmp -s - $@ || printf '%s\n' $(SOURCES) > $@

# setuptools puts what an earlier build left behind, deleted modules included, into the wheel.
LEFTOVERS := build/lib build/bdist.* *.egg-info packaging/testing/build packaging/testing/*.egg-info

$(WHEELS)/made: $(VENV)/tools build/sources $(SOURCES) setup.cfg pyproject.toml MANIFEST.in README.md LICENSE
	@echo "environment: building the wheels"
	@rm -rf $(WHEELS) $(LEFTOVERS)
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir $(WHEELS) . ./packaging/testing
	@rm -rf $(LEFTOVERS)
	@touch $@

$(VENV)/libraries: $(VENV)/tools setup.cfg packaging/testing/setup.cfg constraints.txt | $(WHEELS)/made
	@echo "environment: installing the libraries; the first time this takes a minute"
	@$(PIP) install --constraint constraints.txt "$$(echo $(WHEELS)/smartproxy-*.whl)[$(EXTRAS)]" $(WHEELS)/smartproxy_testing-*.whl
	@touch $@

$(VENV)/installed: $(VENV)/libraries $(WHEELS)/made
	@$(PIP) install --no-deps --force-reinstall $(WHEELS)/*.whl
	@$(BIN)/python -P -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))'
	@echo "environment: ready"
	@touch $@

demo: environment  ## show the main job: files across the DMZ, and everything that is stopped there (KEEP=1: leave it running)
	@cd $(CHECKS) && PATH="$(BIN):$$PATH" $(BIN)/python -m smartproxy.testing demo --folder $(CURDIR)/.demo $(if $(KEEP),--keep)

# Types and style are checked beside the tests of whole daemons, which wait more than they compute.
test: python  ## run everything: tests, layers, types, style; every part, then the status tells
	@$(PYTHON) tests/programs.py install
	@$(MAKE) --no-print-directory fast-tests; fast=$$?; \
	$(MAKE) --no-print-directory --keep-going --jobs=2 slow-tests types lint fragments; slow=$$?; \
	$(PYTHON) tests/programs.py missing; exit $$((fast | slow))

fast-tests: environment  ## tests without daemons; those of the store on SQLite and PostgreSQL (TESTS=tests.unit.test_stream chooses)
	$(TRIAL) --jobs=$(JOBS) $(or $(TESTS),$(FAST_TESTS))

slow-tests: environment  ## whole daemons over real sockets; the wheels in empty environments (TESTS=, SLOW_JOBS=1)
	cd $(CHECKS) && $(BIN)/python -m tests.side_by_side $(SLOW_JOBS) $(or $(TESTS),$(SLOW_TESTS))

types: environment  ## mypy --strict
	$(BIN)/mypy
	$(BIN)/mypy docs/keyboard.py docs/measured.py docs/pictures.py docs/rooms.py docs/tables.py docs/transcript.py benchmarks

lint: environment  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fragments: environment  ## the news fragments: their names, and that CHANGES.md can be made of them
	$(BIN)/python tests/fragments.py
	$(BIN)/towncrier build --draft --version next > build/news.md

news: environment  ## make CHANGES.md of the news fragments (VERSION=0.2.0)
	$(BIN)/towncrier build --yes --version $(or $(VERSION),$(error say VERSION=, such as VERSION=0.2.0))

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

fuzz: environment  ## mutated sessions against the protocol core and the transport (EXECUTIONS=10000, SEED=1)
	cd $(CHECKS) && $(BIN)/python -m tests.fuzz $(addprefix --executions ,$(EXECUTIONS)) --seed $(or $(SEED),1)

mutants: environment  ## break protections one by one in a copy; a test has to fail for each (THREATS="T8 T13")
	$(BIN)/python -m tests.mutants $(CURDIR) $(THREATS)

soak: environment  ## minutes of sessions and floods; backends and workers that are killed (SOAK_SECONDS=60 KILLS=50 DEATHS=1000)
	$(TRIAL) tests.soak

bench: environment  ## compare with HAProxy, nginx and stunnel (QUICK=1: about 3 minutes; ONLY=files: one test)
	@$(PYTHON) tests/programs.py install bench
	@$(PYTHON) tests/programs.py missing bench
	@$(MAKE) --no-print-directory build/bench/sessions
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/compare.py --program $(CURDIR)/build/bench/sessions \
		--json $(CURDIR)/build/bench/result.json $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-growth: environment  ## how cost grows with buffers, sessions and files, drawn into build/bench: about 10 minutes
	@$(MAKE) --no-print-directory build/bench/sessions
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/compare.py --program $(CURDIR)/build/bench/sessions \
		--json $(CURDIR)/build/bench/growth.json --growth --rounds 2
	$(BIN)/python $(CURDIR)/benchmarks/plots.py build/bench/growth.json build/bench

build/bench/sessions: $(wildcard benchmarks/sessions/*)
	@mkdir -p build/bench
	$(CC) -O2 -Wall -Wextra -o $@ $(filter %.c,$^) -lssl -lcrypto

bench-workers: environment  ## SmartProxy in one process, with workers, and a process for each session: about 5 minutes
	@$(PYTHON) tests/programs.py install bench
	@$(PYTHON) tests/programs.py missing bench
	@$(MAKE) --no-print-directory build/bench/sessions
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/compare.py --program $(CURDIR)/build/bench/sessions \
		--json $(CURDIR)/build/bench/workers.json --arrangements --quick
	$(BIN)/python $(CURDIR)/benchmarks/plots.py build/bench/workers.json build/bench

bench-far: environment  ## a partner behind 80 ms, without loss and with 1 %, against a direct call: 15 minutes (ROUNDS=5)
	@$(PYTHON) tests/programs.py install bench
	@$(MAKE) --no-print-directory build/bench/sessions
	cd $(CHECKS) && unshare --net --map-root-user $(BIN)/python -P $(CURDIR)/benchmarks/far_partner.py \
		--program $(CURDIR)/build/bench/sessions --json $(CURDIR)/build/bench/far.json --rounds $(or $(ROUNDS),5)

bench-starvation: environment  ## what a hostile partner takes from another one, attack by attack: 2 minutes
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/starvation.py

bench-parts: environment  ## how fast octets are judged, and what a stranger's handshake costs
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/short_sessions.py
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/subrecord_layouts.py
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/handshake_chains.py

bench-lists: environment  ## how long a revocation list of a million entries holds up the daemons (ENTRIES=100000)
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/list_stall.py --entries $(or $(ENTRIES),1000000)

bench-calls: environment  ## count the daemons' Python calls for a small file and a DATA buffer, by function (TOP=40)
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/calls.py --top $(or $(TOP),40)

bench-floods: environment  ## who gets in while strangers flood the ports, and what it costs (FLOODS=tunnel chooses; WORKERS=0)
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/floods.py $(FLOODS) $(if $(WORKERS),--workers $(WORKERS))

bench-page: environment  ## how fast the admin page answers with 100,000 sessions and a million events (SESSIONS=1000)
	cd $(CHECKS) && $(BIN)/python -P $(CURDIR)/benchmarks/pages.py --json $(CURDIR)/build/bench/pages.json \
		--sessions $(or $(SESSIONS),100000)

screenshots: environment  ## pictures of every page, of three sites, into build/screenshots
	cd $(CHECKS) && PATH="$(BIN):$$PATH" $(BIN)/python -m twisted.trial --reporter=text tests.process.screenshots

page-pictures: environment  ## take the pictures of the page that stand in the documents, into docs/static/page
	cd $(CHECKS) && PATH="$(BIN):$$PATH" $(BIN)/python -m twisted.trial --reporter=text tests.process.document_pictures.Documents

clean:  ## remove everything that make made
	rm -rf $(VENV) build dist .demo trial .mypy_cache .ruff_cache .hypothesis .coverage docs/_build $(LEFTOVERS)
	find . -name __pycache__ -prune -exec rm -rf {} +

# `make help` says what there is. Needs python3 (3.11 or newer) with its venv module, and make; all else goes into .venv.

PYTHON ?= python3
ARGS ?=
EXTRAS ?=
TESTS ?= tests
MINUTES ?= 30
ROUNDS ?= 1
RUN ?= $(lastword $(sort $(wildcard benchmarks/runs/*.json)))

.DEFAULT_GOAL := help
.PHONY: help run demo test test-all test-long lint ruff format mypy layers bench bench-smoke chart overload crowd soak cuts archive-proof pictures docs reference deb check clean stale

# ---- .venv: one file .venv/ready-... for each set of packages that is in it

# Made by another checkout (this one was copied or moved) or for a Python that has gone: .venv is made anew.
STALE := $(shell [ -x .venv/bin/python ] && [ "$$(cat .venv/made-for 2>/dev/null)" = "$(CURDIR)" ] || echo stale)
WANTED := setup.py pyproject.toml outputd/__init__.py $(STALE)

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'outputd needs Python 3.11 or newer: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'python3 lacks its venv module. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Installing outputd$(1) and what it needs into .venv: 15 to 60 seconds ...'
	@$(PYTHON) -m venv $(if $(STALE),--clear) .venv
	@.venv/bin/python -m pip --disable-pip-version-check install --quiet --editable '.$(1)'
	@echo "$(CURDIR)" > .venv/made-for
endef

.venv/ready-run: $(WANTED)
	$(call install,)
	@touch $@

.venv/ready-with-%: $(WANTED)
	$(call install,[$*])
	@touch .venv/ready-run $@

.venv/ready-test: $(WANTED)
	$(call install,[test])
	@touch .venv/ready-run $@

.venv/ready-dev: $(WANTED)
	$(call install,[dev])
	@touch .venv/ready-run .venv/ready-test $@

.venv/ready-docs: $(WANTED)
	$(call install,[docs])
	@touch .venv/ready-run $@

# ---- what people call

help:
	@printf '%s\n' \
	    'make run            the service in the foreground, on all interfaces; ARGS="--port=9000 -v" passes flags on' \
	    '                    EXTRAS=archive installs what --archive needs, EXTRAS=parquet what Parquet needs' \
	    'make demo           the service with invented nodes and an invented internet; Ctrl-C ends all' \
	    'make test           the tests, within 4 minutes; TESTS=tests.store for some' \
	    'make test-all       those that take long, too: crash points, faults, browser, overload; within 20 minutes' \
	    'make lint           ruff, mypy and the layers of the packages' \
	    'make bench          rates, light load, latencies and reads beside the limit and Go, under 10 minutes; ROUNDS=8' \
	    'make chart          the picture of BENCHMARKS.md, drawn anew from the last run in benchmarks/runs' \
	    'make bench-smoke    whether benchmarks and counts are right, in 20 seconds' \
	    'make overload       ten times too much for a minute, beside idle and slow connections; ARGS="--seconds 10"' \
	    'make crowd          crowds that mean harm: memory, and what others wait; ARGS="--only bodies --requests 100"' \
	    'make soak           half an hour with kills, outages and full disks, and the account of every result; MINUTES=5' \
	    'make cuts           a hundred power cuts under load: what was acknowledged is there; ARGS="--cuts 20"' \
	    'make archive-proof  three instances with an archive and every trouble, and the account of every result' \
    'make pictures       those of the README, taken anew in a headless Chromium' \
	    'make docs           the documentation as a site in site/, its links checked' \
	    'make reference      reference pages brought up to date after a flag, a metric or a table has changed' \
	    'make deb            the Debian package, in dist/' \
	    'make check          all that must pass before a change lands' \
	    'make clean          removes what the above made, never results' \
	    '' 'Everything is installed into .venv here, nothing anywhere else. PYTHON=/path/to/python3 chooses the Python.'

# The addresses are in the log, by the service itself; named here only where nothing can have changed them.
run: .venv/ready-$(if $(EXTRAS),with-$(EXTRAS),run)
	@echo 'outputd in the foreground, on all interfaces; Ctrl-C stops it. Its log says where it listens and keeps its files.'
	@$(if $(strip $(ARGS)),true,env | grep -q '^OUTPUTD_') || printf '  %s\n' \
	    'results  POST http://localhost:8081/results' \
	    'look at  http://localhost:8091/  and  /health  /stats  /recent  /metrics' \
	    'files    ./output_data/'
	@exec .venv/bin/twistd -n --pidfile= outputd $(ARGS)

demo: .venv/ready-run
	@exec .venv/bin/python -m outputd.demo --with-service $(ARGS)

test: .venv/ready-test
	@.venv/bin/python -m tests.kit.runner $(TESTS)

test-all: .venv/ready-test
	@.venv/bin/python -m tests.kit.runner --all $(TESTS)

test-long: .venv/ready-test
	@.venv/bin/python -m tests.kit.runner --only-long $(TESTS)

lint: ruff format mypy layers

ruff: .venv/ready-dev
	.venv/bin/ruff check

format: .venv/ready-dev
	.venv/bin/ruff format --check

mypy: .venv/ready-dev
	.venv/bin/mypy

layers: .venv/ready-dev
	.venv/bin/lint-imports

bench: .venv/ready-run
	@.venv/bin/python -m benchmarks.bench --turns=$(ROUNDS) $(ARGS)

chart: .venv/ready-docs
	@.venv/bin/python -m benchmarks.chart $(RUN) docs/images

bench-smoke: .venv/ready-run
	@.venv/bin/python -m benchmarks.bench --smoke

overload: .venv/ready-test
	@.venv/bin/python -m tests.system.overload $(ARGS)

crowd: .venv/ready-test
	@.venv/bin/python -m tests.system.crowd $(ARGS)

soak: .venv/ready-test
	@.venv/bin/python -m tests.system.soak --minutes $(MINUTES) $(ARGS)

cuts: .venv/ready-test
	@.venv/bin/python -m tests.system.cuts $(ARGS)

archive-proof: .venv/ready-test
	@.venv/bin/python -m tests.system.archive $(ARGS)

pictures: .venv/ready-test
	@.venv/bin/python -m tests.system.pictures

docs: .venv/ready-docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo 'site/index.html; its search needs a web server: python3 -m http.server --directory site'

reference: .venv/ready-run
	@.venv/bin/python -m tools.reference

deb: .venv/ready-run
	@echo 'Building the Debian package: one to three minutes ...'
	@.venv/bin/python -m tools.deb dist

check:
	@.ci/run

clean:
	rm -rf .venv build dist site *.egg-info _trial_temp* .mypy_cache .ruff_cache .import_linter_cache .hypothesis twisted/plugins/dropin.cache

# Needs nothing but Python 3.11 or newer and make. Everything is installed into .venv; run a
# second time, a target starts at once unless pyproject.toml changed.

#: the first of these that is new enough makes .venv
PYTHON ?= python3 python3.13 python3.12 python3.11
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format loadtest clean

help:
	@echo 'make demo      see a thousand simulated devices receive pushes (about 20 s)'
	@echo 'make test      run all tests and checks on every Python found, with tox'
	@echo 'make lint      check style, types and documentation only'
	@echo 'make format    mend the style'
	@echo 'make loadtest  measure on this machine: ARGS="idle --json idle.json" says what'
	@echo 'make clean     remove everything that was built or installed here'

demo: .venv/.installed
	$(BIN)/python -m trio_push demo $(ARGS)

loadtest: .venv/.installed
	$(BIN)/python -m loadtest $(ARGS)

# All of it, six environments side by side, as most tests wait most of the time; what ARGS names is
# shown as it goes.
test: .venv/.tox
	$(BIN)/tox $(if $(ARGS),run $(ARGS),run-parallel --parallel 6)

lint: .venv/.tox
	$(BIN)/tox run -e lint,types,docs

format: .venv/.tox
	$(BIN)/tox run -e format

clean:
	rm -rf .venv .tox build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pyvenv.cfg is written once, when the environment is made; the two stamps follow it.
.venv/pyvenv.cfg:
	@for python in $(PYTHON); do \
		if $$python -c '$(SUITABLE)' >/dev/null 2>&1; then exec $$python -m venv .venv; fi; \
	done; \
	echo 'No Python 3.11 or newer with its venv module was found. Looked for: $(PYTHON).'; \
	echo 'Debian, Ubuntu:  apt install python3 python3-venv'; \
	echo 'Fedora:          dnf install python3'; \
	echo 'macOS:           brew install python'; \
	echo 'or name one:     make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)'; \
	exit 1

.venv/.installed: .venv/pyvenv.cfg pyproject.toml
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/.tox: .venv/pyvenv.cfg
	$(PIP_INSTALL) 'tox>=4.22'
	@touch $@

# `make train` and `make test` are all the set-up there is: both build .venv/ when it is missing or stale.

PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: help install train test check registry format verify bench clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile

install: ## build .venv/, or bring it up to date
	@$(PYTHON) tools/bootstrap.py

train: install ## train ControlVAE on the toy corpus
	$(RUN) aecore_cli train --plugin controlvae --set controlvae.target_kl=18

test: install ## the tests, without those of the whole system
	$(RUN) pytest -q --numprocesses 2

check: install ## format, lint, types, generated files
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	.venv/bin/python tools/registry.py --check

registry: install ## write registry.toml, docs/plugins.md, docs/manifest.md
	.venv/bin/python tools/registry.py

format: install ## lay the code out, and mend what ruff can mend
	$(RUN) ruff check --fix
	$(RUN) ruff format

verify: install ## the slow tests of the whole system
	$(RUN) pytest -q -m verify

bench: install ## measure speed, paired in one process: make bench DATA=path/to/ptb
	$(RUN) bench --data '$(or $(DATA),toy)'

clean: ## remove .venv/ and all caches; runs/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name .git -prune -o -name runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

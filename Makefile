# `make check` before a commit; `make fix` puts right what a tool can put right.
PYTHON ?= python

.PHONY: check fix test ci

check: ## lint, format check, tests, in the current environment
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pytest

fix: ## repair what the linter can repair, then format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test: ## the tests alone
	$(PYTHON) -m pytest

ci: ## everything, in fresh environments: README's commands, lint, the wheel, the oldest supported Paddle
	.ci/run

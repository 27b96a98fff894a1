# Needs GNU make and Python 3.11 or newer; everything else is installed into .venv.
# `make help` lists the targets.

PYTHON ?= python3
# Options for the line that installs torch alone, such as the index of its CPU builds.
TORCH_OPTIONS ?=

BIN := .venv/bin
VENV := .venv/.created
RUNTIME := .venv/.runtime-installed
DEV := .venv/.dev-installed
# Build environments are held to the pins as well: by the first in old pips, by the second from
# pip 25.3 on. Relative on purpose, since pip splits these values at spaces.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install

.DEFAULT_GOAL := help
.PHONY: help app test lint types unit browser browser-deps bench assets screenshots wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## /\1:/p' Makefile | awk -F: '{ printf "  make %-13s %s\n", $$1, $$2 }'

app: $(RUNTIME) ## open the explorer, after installing what it needs
	$(BIN)/subspace-atlas app $(if $(PORT),--port $(PORT))

# One process a core; a third made waits of the browser overrun. A file by itself, in the order of
# the folders, so that the browser's long files do not come last and alone. A thread each: more
# would fight.
test: lint types ## lint, types, then every test, those in the browser included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(DEV) ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## pyright, strict on engine/ and pages/
	$(BIN)/pyright

unit: $(DEV) ## the tests that need no browser
	$(BIN)/python -m pytest -m "not browser"

browser: $(DEV) ## the tests that drive Chromium
	$(BIN)/python -m pytest -m browser

# Debian and Ubuntu, as root; where neither holds, install any Chromium and set CHROMIUM to it.
# The font is there because an empty machine has none and would draw every letter as a box.
browser-deps: ## install Chromium for the browser tests, where none is found
	@if [ -n "$$CHROMIUM" ] || command -v chromium || command -v chromium-browser || \
	  command -v google-chrome; then echo "a Chromium is already there"; \
	else \
	  apt-get update && DEBIAN_FRONTEND=noninteractive \
	  apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; \
	fi

bench: $(DEV) ## list the benchmarks
	@echo "Run one with: $(BIN)/python FILE"; ls tests/benchmarks/*.py

assets: $(DEV) ## make anew what assets/ ships for the bundled model
	$(BIN)/python assets/build.py

screenshots: $(DEV) ## take the README's pictures of the app anew
	$(BIN)/python -m assets.screenshots

wheel: $(DEV) ## build dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

clean: ## remove the environment and everything built or cached
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed and '$(PYTHON)' is not that;" \
	    "name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments;" \
	    "install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

# torch first and alone: pip then keeps a CPU build that is at hand, which it would not do when
# torch comes along as somebody's dependency.
$(RUNTIME): pyproject.toml constraints.txt | $(VENV)
	$(PIP) $(TORCH_OPTIONS) torch
	$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)
	$(PIP) $(TORCH_OPTIONS) torch
	$(PIP) --editable '.[dev]'
	@touch $(RUNTIME) $@

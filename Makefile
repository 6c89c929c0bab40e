# make demo: see it work.  make test: prove it.  make check: lint, types and the fast tests, before each commit.
# make soak: the tests with their full counts -> docs/soak.md.  make bench: three of the benches (bench/README.md has all).
# make page: the page that restores in the browser, which `photomend serve` shows; needs Node.js and npm.
PYTHON ?= python3
BIN := .venv/bin
APT := sudo apt-get install -y python3 python3-venv git make libegl1 libgles2 libgl1 libglib2.0-0 libxcb1

BUILT := pipelines/page/built/index.html
PAGE := $(if $(shell command -v npm),$(BUILT))  # its tests are skipped where it cannot be built

unexport PYTHONDONTWRITEBYTECODE  # without bytecode each process compiles the whole of the tests anew

.PHONY: demo test check soak bench lint page clean
.DEFAULT_GOAL := help

help:
	@head -3 Makefile

demo: .venv/.installed
	@$(BIN)/photomend demo $(DEMO)

test: .venv/.installed-dev $(PAGE)
	@$(BIN)/python -m dataset_tools.system
	$(BIN)/pytest -n 2 --dist worksteal

check: lint $(PAGE)
	@$(BIN)/python -m dataset_tools.system
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

soak: .venv/.installed-dev $(PAGE)
	$(BIN)/python -m bench.soak

bench: .venv/.installed-dev
	$(BIN)/python -m bench.recall
	$(BIN)/python -m bench.build
	$(BIN)/python -m bench.estimate_grid

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

page: $(BUILT)

$(BUILT): $(shell find pipelines/page/src pipelines/page/static -type f) $(addprefix pipelines/page/,build.mjs package-lock.json tsconfig.json)
	@command -v npm >/dev/null || { echo "npm is missing; on Debian and Ubuntu: sudo apt-get install -y nodejs npm"; exit 1; }
	cd pipelines/page && npm ci --silent --no-audit --no-fund && npm run --silent check && npm run --silent build
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info demo pipelines/page/built pipelines/page/node_modules

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian and Ubuntu: $(APT)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "photomend needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv is missing; on Debian and Ubuntu: $(APT)"; exit 1; }

.venv/.installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@$(BIN)/python -m dataset_tools.system
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

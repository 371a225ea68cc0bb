# make demo    a bare machine: makes .venv, installs, indexes samples/, runs three searches
# make test    a bare machine: installs what the tests need, then `make check`
# make check   format, lint, types, import contracts, tests
# make vendor  fetches what the page brings along, and compares it with what is known of it

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check format vendor clean

demo: .venv/app
	@ALM2VEC="$(BIN)/alm2vec" sh samples/demo.sh

test: .venv/dev
	@$(MAKE) --no-print-directory check

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --verbose --no-cache > .venv/contracts.log || { cat .venv/contracts.log; exit 1; }
	$(BIN)/pytest

format:
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

# torch first, at its pinned version: whatever comes later finds it there
.venv/torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(PIP) torch
	@touch $@

.venv/app: .venv/torch pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/dev: .venv/torch pyproject.toml
	$(PIP) --editable '.[dev]'
	$(PIP) --no-deps dasheng
	@touch $@ .venv/app

WAVESURFER := 7.12.12
VENDOR := alm2vec_search/web/vendor

vendor:
	rm -rf .vendor && mkdir .vendor
	cd .vendor && npm pack --silent wavesurfer.js@$(WAVESURFER) && tar -xzf wavesurfer.js-$(WAVESURFER).tgz
	cp .vendor/package/dist/wavesurfer.esm.js .vendor/package/dist/plugins/regions.esm.js $(VENDOR)
	cp .vendor/package/LICENSE $(VENDOR)/LICENSE-wavesurfer.js
	rm -rf .vendor
	cd $(VENDOR) && sha256sum --check SHA256SUMS

clean:
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# Every command that a person or a machine runs in this project.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
SYSTEM_PYTHON := $(shell command -v python3.11 || command -v python3)
CARGO := cargo
# Scripts find the command here, wherever CARGO_TARGET_DIR lets cargo build.
ONECOPY := target/release/onecopy
BUILT = $${CARGO_TARGET_DIR:-target}/release/onecopy
FUZZ_SECONDS ?= 60

.PHONY: help setup binary module demo test test-rust test-python check estimators bench bench-archive compare fuzz miri clean

help: ## List the recipes
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(INSTALLED) binary module ## Install the pinned Python packages and onecopy itself into .venv, build target/release/onecopy

$(INSTALLED): requirements.txt
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: no python3.11 and no python3 found; install Python 3.11" >&2; exit 1; }
	"$(SYSTEM_PYTHON)" -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --retries 5 -r requirements.txt
	@touch $@

binary:
	$(CARGO) build --release --locked --package onecopy-cli
	@if [ "$(BUILT)" != "$(ONECOPY)" ] && ! [ "$(BUILT)" -ef "$(ONECOPY)" ]; then \
	  mkdir -p target/release && cp "$(BUILT)" $(ONECOPY).new && mv $(ONECOPY).new $(ONECOPY); fi

# Installed in place: Python files are used from python/onecopy, and the built module lies beside them.
module: $(INSTALLED) binary
	VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(VENV)/bin/maturin develop --release --locked --quiet

demo: setup ## Train, convert and share a real forest; compare with pickle and joblib (about a minute)
	$(PYTHON) demo/train.py demo-output
	$(PYTHON) demo/compare.py demo-output

test: setup ## Run all tests: Rust, then the command and the Python package against scikit-learn
	$(MAKE) --no-print-directory test-rust
	$(MAKE) --no-print-directory test-python

test-rust:
	$(CARGO) test --locked

test-python: setup
	$(PYTHON) -m pytest -q tests/python

check: ## Formatting, lints, documentation (what the machine checks besides the tests)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo "cargo-deny is not installed: skipped"; fi

estimators: setup ## Write docs/estimators.md: every class of scikit-learn, saved, loaded and compared to the last bit
	$(PYTHON) tests/python/make_support_table.py

bench: setup ## Measure every promise against the peers in one run; tables and CSV in bench-output
	$(PYTHON) benches/peers.py bench-output
	$(PYTHON) benches/python_peers.py bench-output
	$(PYTHON) benches/python_dump.py
	$(PYTHON) benches/python_cold.py

bench-archive: setup ## Sizes and times of archives beside joblib's compressed files; CSV in bench-output (some minutes)
	@mkdir -p bench-output
	$(PYTHON) benches/archive.py bench-output/archive | tee bench-output/archive.csv

compare: setup ## Time tree ensembles beside every library that predicts from them; CSV and chart in bench-output (an hour)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input -r benches/compare-requirements.txt
	$(PYTHON) benches/compare.py bench-output/compare

# GCC keeps zstd's local tables of constants with the program, and its check of scopes takes those for dead stack.
fuzz: binary ## Fuzz every parser for FUZZ_SECONDS each, from real models on (needs a nightly toolchain and cargo-fuzz)
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { echo "error: fuzzing needs \`rustup toolchain install nightly\` and \`cargo install cargo-fuzz\`" >&2; exit 1; }
	@mkdir -p fuzz/corpus/file_reader fuzz/corpus/pickle_reader fuzz/corpus/lightgbm_reader fuzz/corpus/xgboost_reader fuzz/corpus/codecs
	@for model in $$(find tests/golden -name '*.joblib' -size -40k); do \
	  $(ONECOPY) convert $$model -o fuzz/corpus/file_reader/$$(basename $$model).onecopy >/dev/null; done
	@find tests/hostile/format tests/golden/archives -name '*.onecopy' -size -64k -exec cp -t fuzz/corpus/file_reader {} +
	@find tests/convert/seeds tests/hostile/pickle -type f -size -64k -exec cp -t fuzz/corpus/pickle_reader {} +
	@cp tests/convert/xgboost/* fuzz/corpus/xgboost_reader
	@tail -c +15 tests/convert/lightgbm/booster.txt >fuzz/corpus/lightgbm_reader/booster
	@for target in file_reader codecs pickle_reader lightgbm_reader xgboost_reader; do \
	  CFLAGS="-fno-sanitize-address-use-after-scope $(CFLAGS)" $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/regressions/$$target -- -max_len=65536 -max_total_time=$(FUZZ_SECONDS); done

miri: ## Interpret the kernels, also those for AVX-512, which this processor may lack (needs a nightly toolchain with miri)
	MIRIFLAGS=-Zmiri-disable-isolation RUSTFLAGS="-C target-feature=+avx2,+bmi1,+bmi2,+popcnt,+avx512f,+avx512bw,+avx512vl,+avx512vbmi,+avx512vpopcntdq" \
	  $(CARGO) +nightly miri test -p onecopy --lib kernels

clean: ## Remove what the recipes made, except the virtual environment
	rm -rf demo-output bench-output
	$(CARGO) clean

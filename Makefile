# What needs installing is installed; see scripts/.

SHELL := /bin/sh
export PATH := $(HOME)/.cargo/bin:$(PATH)

SECONDS ?=
MINUTES ?=
MAJORS := 14 15 16 17 18
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
RELEASE_BIN := $(TARGET)/release
TOOLS := $(TARGET)/tools

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix faults bench fuzz soak fmt lint docs postgres verifiers build release compiler

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: postgres ## a worker, Tidings and a subscriber, live (SECONDS=30; 0 runs until stopped)
	@$(BIN)/tidings demo --seconds $(or $(SECONDS),30)

test: ## every check: format, lints, unit and end-to-end tests, docs (TIDINGS_PG_VERSION=16)
	@sh scripts/test.sh

test-matrix: postgres verifiers ## the end-to-end tests on every major of Postgres
	@set -e; for major in $(MAJORS); do \
		echo "== Postgres $$major"; export TIDINGS_PG_VERSION=$$major; \
		$(MAKE) --no-print-directory postgres; \
		cargo test --locked --workspace --test e2e --test server --no-fail-fast; \
	done

faults: release ## the fault matrix, each scenario often, and what was lost; writes docs/faults.md
	@$(RELEASE_BIN)/faults --write docs/faults.md

bench: release ## the figures: throughput, latency, memory, what a million deliveries leave behind
	@$(RELEASE_BIN)/bench

soak: release ## one sidecar under load for long, and what it takes over that time (MINUTES=60)
	@$(RELEASE_BIN)/soak $(or $(MINUTES),60)

fuzz: compiler $(TOOLS)/bin/cargo-fuzz ## every fuzz target for a while (SECONDS=60 each)
	@set -e; for target in $$($(TOOLS)/bin/cargo-fuzz list); do \
		echo "== $$target"; \
		$(TOOLS)/bin/cargo-fuzz run -s none $$target -- -max_total_time=$(or $(SECONDS),60); \
	done

$(TOOLS)/bin/cargo-fuzz: | compiler
	@cargo install --locked --root $(TOOLS) cargo-fuzz

fmt: ## formats the code
	@cargo fmt --all

lint: compiler ## clippy, warnings as errors
	@cargo clippy --locked --workspace --all-targets -- -D warnings

docs: compiler ## the API documentation, into target/doc
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps

postgres: build ## server binaries of Postgres, where there are none (TIDINGS_PG_VERSION=16)
	@$(BIN)/scratch find || { \
		[ $$? = 3 ] && sh scripts/postgres.sh && $(BIN)/scratch find; }

verifiers: ## the published libraries that verify our signatures in tests, where there are none
	@sh scripts/verifiers.sh

# Always the whole workspace: features are resolved alike each time, so nothing is built twice.
build: compiler
	@cargo build --locked --workspace

release: postgres
	@cargo build --locked --workspace --release

compiler:
	@sh scripts/compiler.sh

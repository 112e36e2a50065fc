# What a developer types. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RINGWAY := $(TARGET_DIR)/release/ringway
STATE := .ringway
# Always both packages: cargo chooses features by those that are named, and would build twice what they share.
BUILD := cargo build -p server -p shop
# More words for `ringway demo up`: make up DEMO=--embedded
DEMO ?=

.PHONY: help install up down status lint test conformance fuzz bench

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

install: ## Install what is missing on this machine (Debian 12; root or sudo)
	@deploy/install.sh

up: install ## Build and start the local cluster: PostgreSQL, Redis, Kafka, Ringway, the shop (RINGWAY_SHOP=off: without)
	$(BUILD) --release --bin ringway $(if $(filter off,$(RINGWAY_SHOP)),,--bin ringway-shop)
	$(RINGWAY) demo up --state-dir $(STATE) $(DEMO)

down: ## Stop and remove what `make up` started
	@if [ ! -e $(STATE) ]; then \
		echo "nothing to stop: there is no $(STATE)"; \
	else \
		[ -x $(RINGWAY) ] || $(BUILD) --release --bin ringway; \
		$(RINGWAY) demo down --state-dir $(STATE); \
	fi

status: ## Show the servers of the local cluster
	@[ -x $(RINGWAY) ] || $(BUILD) --release --bin ringway
	@$(RINGWAY) demo status --state-dir $(STATE)

lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: ## Lints and all tests, on real servers
	@deploy/install.sh --bench
	$(MAKE) lint
	$(BUILD)
	cargo test --workspace --no-fail-fast

fuzz: ## Ten million made-up inputs for every decoder and session state machine
	cargo run --profile fuzz -p tests --bin fuzz -- --inputs 10000000

conformance: ## Suites of others, directly and through Ringway: all, or SUITE="pgx pq"
	@deploy/install.sh --bench
	$(BUILD) --bin ringway
	cargo test --package tests --test conformance --no-fail-fast -- \
		--include-ignored --test-threads=1 --nocapture $(if $(SUITE),--exact $(SUITE),--skip in_short)

bench: ## Measure beside direct PostgreSQL and PgBouncer
	@deploy/install.sh --bench
	$(BUILD) --release --bin ringway
	cargo run --release -p bench

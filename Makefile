# `make` lists what there is. Needs Rust and make; `make tools` (part of demo, test and bench) installs the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help tools build demo test lint deny bench fuzz clean

# ansible-playbook and rotel-agent from the private venv come first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

CARGO ?= cargo
DENY_VERSION := 0.20.2
# cargo-deny, wherever it is; empty if it is not installed.
DENY = $(firstword $(wildcard $(CURDIR)/.tools/bin/cargo-deny) $(shell command -v cargo-deny 2>/dev/null))

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## Install what is missing: redis-server, and Ansible into .venv
	@.ci/tools

build: ## Build the binary, target/release/trueup
	$(CARGO) build --release --locked -p trueup

demo: tools build ## Run a sample fleet, break it, watch it heal (ONCE=1: exit with the verdict as JSON)
	./target/release/trueup demo $(if $(ONCE),--once)

test: tools ## Everything that must pass: format, lints, all tests, tidiness
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(CARGO) test --workspace --locked
	@if [ -n "$(DENY)" ]; then $(MAKE) --no-print-directory deny; \
	else echo "deny: skipped, cargo-deny is not installed (\`make deny\` installs it; that takes some minutes)"; fi

lint: ## Format and lints alone
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings

deny: ## Licences, sources, duplicates, advisories of what we link (installs cargo-deny into .tools)
	@if [ -z "$(DENY)" ]; then $(CARGO) install --quiet --locked --root .tools cargo-deny@$(DENY_VERSION); fi
	$(or $(DENY),.tools/bin/cargo-deny) --locked check bans licenses sources
	@# The advisories are a git repository of their own. Not being able to fetch it is said, not failed; a finding fails.
	@db=.tools/advisories.log; mkdir -p .tools; \
	if $(or $(DENY),.tools/bin/cargo-deny) --locked check advisories >$$db 2>&1; then tail -n 1 $$db; \
	elif grep -q "failed to fetch advisory database" $$db; then \
		echo "deny: advisories NOT CHECKED, the RustSec database cannot be fetched from here (details: $$db)"; \
	else cat $$db; exit 1; fi

bench: tools ## Measure the engine and the loop; writes target/bench/summary.json
	$(CARGO) build --release --locked -p trueup-simulators -p trueup-tests --bins
	./target/release/bench $(ONLY)

fuzz: tools ## Ask the API whatever its OpenAPI document allows, and what it does not, for some minutes (needs schemathesis)
	TRUEUP_FUZZ=full $(CARGO) test --locked -p trueup-tests --test schemathesis -- --nocapture

clean: ## Remove what was built, the demo's data and the private tools
	$(CARGO) clean
	rm -rf .trueup .venv .tools

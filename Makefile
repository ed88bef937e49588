# The two commands that matter: `make up` runs the platform, `make test` runs every check. Both install what they need.

# One cache for everything that is slow to make and the same for every clone: engines, libduckdb and, in CI, Cargo's output.
# It is the default of the key `cache_dir`, so that isa finds there what make put there.
CACHE := $(shell if [ "$$(id -u)" = 0 ]; then echo /var/cache/isa; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/isa"; fi)
ifeq ($(CI),true)
export CARGO_TARGET_DIR := $(CACHE)/target
# What a fresh clone compiles it compiles whole: notes for the next time cost time and disk.
export CARGO_INCREMENTAL := 0
# Our crates are compiled by clippy and a warning is an error: what compiles for the tests is linted, and dependencies need not be
# checked a second time for it. Optimising the vector engine across its parts takes longer than all tests of it.
export RUSTC_WORKSPACE_WRAPPER := clippy-driver
export RUSTFLAGS := -D warnings -C lto=off
CLIPPY :=
else
CLIPPY := cargo clippy --locked --workspace --all-targets -- -D warnings
endif
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
ISA := $(TARGET)/debug/isa
DUCKDB := $(CACHE)/duckdb/1.5.6
# What `make up` hands to `isa up`: make up ARGS="--detach --engine minio=seaweedfs"
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help up deps build engines later-engines test lint examples unit suite first-suites contract-suites last-suites test-cluster bench-up bench-services clean

# One selection of packages for all builds: another one has other features, and would compile the vector engine again.
TESTED := --locked --workspace --exclude xtask
# Every test program of a crate, but the one that needs a node; first those that need no engine but the platform's own.
FIRST := checks faults integration
SUITES := $(filter-out cluster,$(sort $(notdir $(patsubst %.rs,%,$(wildcard crates/*/tests/*.rs) $(patsubst %/main.rs,%,$(wildcard crates/*/tests/*/main.rs))))))
OTHER_ENGINES := seaweedfs valkey grpcurl
NODE_PROGRAMS := kubernetes local-path-provisioner kubectl kube-score busybox redis-tools java

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-10s %s\n", $$1, $$2 }'

up: build engines ## Build, install the engines, run the platform (Ctrl-C stops it)
	@./isa up $(ARGS)

deps: ## Fetch the prebuilt libduckdb
	@scripts/need cargo python3 npm go java mvn
	@scripts/fetch-duckdb "$(DUCKDB)"
	@mkdir -p .deps
	@[ "$$(readlink .deps/duckdb)" = "$(DUCKDB)" ] || ln -sfn "$(DUCKDB)" .deps/duckdb

build: deps ## Build isa, and link ./isa to it
	cargo build $(TESTED) --bin isa
	@ln -sfn "$(ISA)" isa

engines: build ## Install the engines that this machine does not have
	@./isa engines install

# Everything is compiled before the first test, so that none waits for a compiler. Where tests leave much of the processor idle,
# waiting for engines, the engines that only some need are built. Not beside the contract's suites: they need all of it, and an
# engine without it answers too late.
test: deps ## Every check: style, unit tests, the platform with real engines, and on Kubernetes
	cargo fmt --all --check
	@$(MAKE) --no-print-directory engines examples
	cargo test $(TESTED) --no-run --tests
	@$(call beside,later-engines,unit first-suites)
	@$(MAKE) --no-print-directory contract-suites
	@$(MAKE) --no-print-directory lint last-suites test-cluster

# Makes the first beside the second, at the lowest priority; fails if one fails. What the first says is shown if it fails.
beside = nice -n 19 $(MAKE) --no-print-directory $(1) >"$(TARGET)/beside.log" 2>&1 & beside=$$!; \
	$(MAKE) --no-print-directory $(2); ended=$$?; \
	wait $$beside || { ended=1; cat "$(TARGET)/beside.log"; }; exit $$ended

lint: deps ## Format, lints, crate directions, file lengths
	cargo fmt --all --check
	$(CLIPPY)
	cargo run --locked --quiet --package xtask -- check

# Tests start the examples as programs of their own, to kill them; naming --lib or --test does not build these.
examples: deps
	cargo build $(TESTED) --bins --examples

unit: examples ## Unit tests
	cargo test $(TESTED) --lib --bins

later-engines: engines
	@./isa engines install $(OTHER_ENGINES) $(if $(filter 0,$(shell id -u)),$(NODE_PROGRAMS))

suite: first-suites contract-suites last-suites ## The vector engine with its official clients, and the platform with every engine and every fault

first-suites: engines examples
	cargo test $(TESTED) --no-fail-fast $(FIRST:%=--test %)

contract-suites: engines examples
	cargo test $(TESTED) --no-fail-fast --test contract

last-suites: engines examples
	@./isa engines install $(OTHER_ENGINES)
	cargo test $(TESTED) --no-fail-fast $(patsubst %,--test %,$(filter-out $(FIRST) contract,$(SUITES)))

test-cluster: engines examples ## The platform on a real Kubernetes node that the test makes (root only)
ifeq ($(shell id -u),0)
	@./isa engines install $(NODE_PROGRAMS)
	PATH="$$PATH$$(printf ':%s' "$(CACHE)"/engines/kubectl/*/*/scripts "$(CACHE)"/engines/kube-score/*/bin)" \
		cargo test $(TESTED) --test cluster -- --nocapture
else
	@echo "test-cluster was not run: a node needs root"
endif

bench-up: engines ## Time and memory of `isa up` and `isa status`
	@scripts/bench-up ./isa

bench-services: engines ## The building blocks beside the engines' own clients, built for speed; writes docs/benchmarks.md
	env -u RUSTFLAGS -u RUSTC_WORKSPACE_WRAPPER cargo build $(TESTED) --release --bin isa --bin isa-bench
	$(TARGET)/release/isa-bench --isa $(TARGET)/release/isa --soak 600 --json $(TARGET)/benchmarks.json --write docs/benchmarks.md

clean: ## Stop the platform and delete what it and cargo left in this folder
	@if [ -x ./isa ]; then ./isa down --purge --yes; fi
	cargo clean

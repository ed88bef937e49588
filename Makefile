# The two commands that matter: `make up` runs the platform, `make test` runs every check. Both install what they need.

# One cache for everything that is slow to make and the same for every clone: engines, libduckdb and, in CI, Cargo's output.
# It is the default of the key `cache_dir`, so that isa finds there what make put there.
CACHE := $(shell if [ "$$(id -u)" = 0 ]; then echo /var/cache/isa; else echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/isa"; fi)
ifeq ($(CI),true)
export CARGO_TARGET_DIR := $(CACHE)/target
endif
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),$(CURDIR)/target)
ISA := $(TARGET)/debug/isa
DUCKDB := $(CACHE)/duckdb/1.5.6
# What `make up` hands to `isa up`: make up ARGS="--detach --engine minio=seaweedfs"
ARGS :=

.DEFAULT_GOAL := help
.PHONY: help up deps build engines test lint examples unit suite test-cluster bench-up bench-services clean

# One selection of packages for all builds: another one has other features, and would compile the vector engine again.
TESTED := --locked --workspace --exclude xtask
# Every test program of a crate, but the one that needs a node.
SUITES := $(filter-out cluster,$(sort $(notdir $(patsubst %.rs,%,$(wildcard crates/*/tests/*.rs) $(patsubst %/main.rs,%,$(wildcard crates/*/tests/*/main.rs))))))

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-10s %s\n", $$1, $$2 }'

up: build engines ## Build, install the engines, run the platform (Ctrl-C stops it)
	@./isa up $(ARGS)

deps: ## Fetch the prebuilt libduckdb
	@scripts/need cargo python3 npm go java mvn
	@scripts/fetch-duckdb "$(DUCKDB)"
	@mkdir -p .deps && ln -sfn "$(DUCKDB)" .deps/duckdb

build: deps ## Build isa, and link ./isa to it
	cargo build $(TESTED) --bin isa
	@ln -sfn "$(ISA)" isa

engines: build ## Install the engines that this machine does not have
	@./isa engines install

test: lint unit suite test-cluster ## Every check: style, unit tests, the platform with real engines, and on Kubernetes

lint: deps ## Format, lints, crate directions, file lengths
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo run --locked --quiet --package xtask -- check

# Tests start the examples as programs of their own, to kill them; naming --lib or --test does not build these.
examples: deps
	cargo build $(TESTED) --examples

unit: examples ## Unit tests
	cargo test $(TESTED) --lib --bins

suite: engines examples ## The vector engine with its official clients, and the platform with every engine and every fault
	@./isa engines install seaweedfs valkey grpcurl
	cargo test $(TESTED) --no-fail-fast $(SUITES:%=--test %)

test-cluster: engines examples ## The platform on a real Kubernetes node that the test makes (root only)
ifeq ($(shell id -u),0)
	@./isa engines install kubernetes local-path-provisioner kubectl kube-score busybox redis-tools java
	PATH="$$PATH$$(printf ':%s' "$(CACHE)"/engines/kubectl/*/*/scripts "$(CACHE)"/engines/kube-score/*/bin)" \
		cargo test $(TESTED) --test cluster -- --nocapture
else
	@echo "test-cluster was not run: a node needs root"
endif

bench-up: engines ## Time and memory of `isa up` and `isa status`
	@scripts/bench-up ./isa

bench-services: engines ## The building blocks beside the engines' own clients, built for speed; writes docs/benchmarks.md
	cargo build $(TESTED) --release --bin isa --bin isa-bench
	$(TARGET)/release/isa-bench --isa $(TARGET)/release/isa --soak 600 --json $(TARGET)/benchmarks.json --write docs/benchmarks.md

clean: ## Stop the platform and delete what it and cargo left in this folder
	@if [ -x ./isa ]; then ./isa down --purge --yes; fi
	cargo clean

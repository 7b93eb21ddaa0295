# The commands of this repository. Each target is a few lines; what is longer lives in scripts/.

# Rounds of the crash harness, operations of the history checker, and extra arguments for `make bench` and `make crash`.
N ?= 20
OPS ?= 100000
ARGS ?=
# Seeds of `make sim`; SEED=n runs one and draws its history.
SEEDS ?= 0..5000
SEED ?= $(SEEDS)
# Objects of each run, and of each tree measured alone, of `make growth`.
SIZES ?= 1e5,1e6,1e7
TREES ?= 1e5,1e6,1e7,1e8
# Seconds of `make overload` and `make fuzz` (each target), and which target.
T ?= 60
TARGET ?= fuzz_

.PHONY: help run test bench growth crash powercut sickdisk overload check sim history flips fuzz

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build the release binary and start it here with a sample repository
	@scripts/system-packages
	cargo build --locked --release --package millpond
	exec target/release/millpond up $(ARGS)

test: ## run all tests: crates, then real clients against the real server
	@scripts/system-packages
	@scripts/test

check: ## formatting, lints and the rules of `cargo xtask tidy`
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo run --quiet --locked --package xtask -- tidy

bench: ## measure; ONLY=commit,stat-64 SIZE=1e7 choose (names: millpond-bench list)
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-bench
	target/release/millpond-bench run $(if $(ONLY),--only $(ONLY)) $(if $(SIZE),--size $(SIZE)) $(ARGS)

growth: ## measure at growing sizes and draw docs/growth.svg (SIZES=1e5,1e6,1e7 TREES=1e5,1e6,1e7,1e8: half an hour, 9 GB)
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-bench
	cargo build --locked --release --package millpond-tree --example measure
	target/release/millpond-bench growth $(if $(SIZES),--sizes $(SIZES)) $(if $(TREES),--tree-sizes $(TREES)) $(ARGS)

crash: ## kill the server N times under load and check every acknowledged operation (N=20)
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-bench
	target/release/millpond-bench crash --rounds $(N) $(ARGS)

powercut: ## cut the disk's power under the server N times, as root, and check every acknowledged operation
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-bench
	target/release/millpond-bench powercut --rounds $(N) $(ARGS)

flips: ## flip bits all over every kind of file: found, named, never served (takes minutes)
	cargo test --locked --release --package millpond-kv --package millpond-engine -- --ignored exhaustive

sickdisk: ## let the first N of each kind of write and sync fail, then fill a disk, and check every answer
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-bench
	target/release/millpond-bench sickdisk --rounds $(N) $(ARGS)

overload: ## ten times as many clients as the server takes on, for T seconds: no promise broken, memory bounded (T=60)
	@scripts/system-packages
	cargo build --locked --release --package millpond
	MILLPOND_BIN=$(CURDIR)/target/release/millpond MILLPOND_OVERLOAD_SECONDS=$(T) \
		cargo test --locked --package millpond --test it overload -- --nocapture

sim: ## run the engine under simulated trouble (SEEDS=0..5000, or SEED=1234 to see one)
	cargo run --quiet --locked --profile sim --package millpond-sim -- $(SEED)

history: ## judge what OPS concurrent operations saw while the server is killed, paused and cut off (OPS=100000)
	@scripts/system-packages
	cargo build --locked --release --package millpond --package millpond-history
	target/release/millpond-history --ops $(OPS) $(ARGS)

fuzz: ## run each fuzz target for T seconds (T=60, TARGET=fuzz_json for one); corpus in fuzz/corpus
	@scripts/system-packages
	MILLPOND_FUZZ_SECONDS=$(T) MILLPOND_FUZZ_SEED=$$(date +%s) cargo test --locked --release --workspace $(TARGET) -- --nocapture

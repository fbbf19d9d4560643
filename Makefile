# Everything that one does with crossfade, from a bare Debian machine on. A target installs what it
# misses (as root or with sudo, through apt-get) and nothing when nothing is missing, so all of them
# work offline from the second time on.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build demo test bench lint advisories fuzz matrix servers image toolchain tools

NEED := deploy/dev/need.sh
# rustup puts cargo where a non-interactive shell does not look.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: toolchain ## the release binary, target/release/crossfade
	cargo build --release --locked

demo: build ## a real migration under traffic, start to finish, on one screen
	@$(NEED) redis-server redis-benchmark=redis-tools python3 python3:redis=python3-redis
	@exec /usr/bin/python3 -B deploy/demo/demo.py target/release/crossfade

test: toolchain ## every test, doc tests included
	@$(NEED) redis-server redis-cli=redis-tools openssl prlimit=util-linux
	@$(NEED) chromium chromedriver=chromium-driver || \
	  echo "SKIPPED: the page is not tested in a browser: no chromium with its chromedriver" >&2
	@$(NEED) python3 python3:redis=python3-redis || \
	  echo "SKIPPED: redis-py is not tested as a Sentinel client: no python3-redis" >&2
	@$(MAKE) -s tools
	cargo test --locked --no-fail-fast

bench: toolchain ## cost per request beside the peers, copy speed, hold of a cut-over
	@$(NEED) redis-server redis-benchmark=redis-tools taskset=util-linux
	cargo bench --locked --bench '*'

# Each of the five fuzzers takes so many seconds, the simulation about as long as one of them.
SECONDS_EACH ?= 60
fuzz: toolchain ## mangled input into every parser, SECONDS_EACH=60 each, and long simulations
	CROSSFADE_FUZZ_SECONDS=$(SECONDS_EACH) cargo test --locked --test fuzz -- --nocapture
	CROSSFADE_SIMULATION_RUNS=$$((500 * $(SECONDS_EACH))) cargo test --locked --lib simulation

matrix: toolchain ## every fault in every phase, some minutes
	@$(NEED) redis-server redis-cli=redis-tools
	CROSSFADE_MATRIX=all cargo test --locked --test matrix

lint: toolchain ## format, clippy, and cargo-deny where it is installed
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check bans licenses sources; \
	else echo "SKIPPED: cargo deny is not installed (cargo install cargo-deny)" >&2; fi

# Needs the network: the database of advisories is fetched anew each time.
advisories: toolchain ## known vulnerabilities of the dependencies, with cargo-deny
	cargo deny --locked check advisories

# What deploy/ is held against; a test whose program is not here says so and passes over.
tools:
	@$(NEED) promtool=prometheus systemd-analyze=systemd || \
	  echo "SKIPPED: alerts and the unit are not tried: no promtool or systemd-analyze" >&2
	@$(NEED) python3 python3:ensurepip=python3-venv && deploy/dev/tools.sh || \
	  echo "SKIPPED: manifests are not held against their schemas: PyPI can't be reached" >&2
	@command -v helm >/dev/null || echo "SKIPPED: the chart is not rendered: helm is not installed" >&2

# The same commit gives the same image: see the Dockerfile.
IMAGE ?= crossfade:0.1.0
image: ## the container image, with docker buildx
	docker buildx build --file deploy/Dockerfile --tag $(IMAGE) --provenance=false \
	  --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	  $(if $(RUST),--build-arg RUST=$(RUST)) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --output type=docker,rewrite-timestamp=true .

servers: ## other versions of Redis and Valkey for the tests, built or fetched
	@$(NEED) cc=build-essential make python3
	@deploy/dev/servers.sh $(NAMES)

toolchain:
	@$(NEED) cc=build-essential
	@command -v cargo >/dev/null || { echo "cargo is missing. Install Rust with" >&2; \
	  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" >&2; exit 1; }

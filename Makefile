# The two commands of a fresh checkout are `make run` and `make test`; both install the system packages they need.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export LANYARD_BIN_DIR ?= $(CARGO_TARGET_DIR)/debug

CARGO := cargo
BUILD := $(CARGO) build --workspace --locked
# One build for all stages; tests/run runs those of the stage, and netns as root.
STAGE := $(CARGO) test --workspace --locked --config 'target."cfg(unix)".runner="tests/run"'

# What packaging/cross.sh installs, and what it is used for. Wire and proto know no system and are looked at natively.
CROSS := $(or $(LANYARD_CROSS_DIR),/opt/lanyard-cross)/bin/xcargo
FOR_WINDOWS := --target x86_64-pc-windows-gnu --locked -p lanyard-agent
FOR_MACOS := --target aarch64-apple-darwin --locked -p lanyard-agent

.PHONY: help run test quick setup build lint doc unit sim netns matrix bench speed crowd endure api fuzz soak windows macos web panel types screenshots deny clean

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: setup build ## a coordinator and two devices behind two NATs, joined; Ctrl-C ends it (LANYARD_RUN_ONCE=1: check and leave)
	@tests/as-root $(LANYARD_BIN_DIR)/demo

test: setup panel lint doc unit sim netns ## everything that must be green
	@echo "make test: everything passed"

quick: lint unit ## lint and the tests that need no root

setup: ## install the system packages that builds, namespaces and tests need
	@tests/setup

build:
	$(BUILD)

lint: ## rustfmt and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# Readers of this code see private items too, so links to them are fine.
doc: ## rustdoc, warnings are errors
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --locked --document-private-items

unit: ## unit, vector, property and house tests
	LANYARD_TESTS=unit $(STAGE)

sim: ## the whole protocol in virtual time (LANYARD_SIM_SEEDS=1000)
	LANYARD_TESTS=sim $(STAGE)

soak: ## every seed that once failed, then ten virtual years of pairs with faults (SOAK="--pair-years 10 --first 0")
	$(CARGO) run --release -p lanyard-sim --bin soak --locked -- --failed
	$(CARGO) run --release -p lanyard-sim --bin soak --locked -- $(or $(SOAK),--pair-years 10)

# What waits for minutes and does little runs beside everything else.
netns: ## real programs, real NATs in network namespaces
	@mkdir -p $(CARGO_TARGET_DIR); \
	LANYARD_TESTS=minutes $(STAGE) > $(CARGO_TARGET_DIR)/minutes.log 2>&1 & minutes=$$!; \
	LANYARD_TESTS=netns $(STAGE); others=$$?; \
	wait $$minutes; long=$$?; cat $(CARGO_TARGET_DIR)/minutes.log; exit $$((others | long))

matrix: setup build ## every pair of NATs: path, time to first reply, time to direct (MATRIX="--runs 5 --jobs 2")
	@tests/as-root $(LANYARD_BIN_DIR)/matrix $(MATRIX)

bench: setup speed crowd ## benches of the pieces, the relay beside coturn, lists of 100,000 devices, a network of 5,000, the data plane beside others and with many peers, the simulator's speed
	$(CARGO) bench -p lanyard-wire --locked
	$(CARGO) bench -p lanyard-agent --bench dataplane --locked
	$(CARGO) bench -p lanyard-coordinator --bench relay --locked
	$(CARGO) bench -p lanyard-coordinator --bench lists --locked
	ulimit -n 16384; $(CARGO) bench -p lanyard-coordinator --bench roster --locked
	$(CARGO) run --release -p lanyard-sim --bin pace --locked

# The second agent does not encrypt: how much of its speed the first one has. It runs in the bench alone.
speed: setup ## the data plane beside wireguard-go and boringtun-cli alone (SPEED="--rounds 1 --seconds 1 --link veth")
	$(CARGO) build --release --locked -p lanyard-agent -p lanyard-coordinator -p lanyard-netns
	RUSTFLAGS="$(RUSTFLAGS) --cfg lanyard_plain" $(CARGO) build --release --locked -p lanyard-agent --target-dir $(CARGO_TARGET_DIR)/plain
	@LANYARD_BIN_DIR=$(CARGO_TARGET_DIR)/release LANYARD_PLAIN=$(CARGO_TARGET_DIR)/plain/release \
		tests/as-root $(CARGO_TARGET_DIR)/release/speed $(SPEED)

crowd: setup ## one agent with a thousand peers, 50 of them at once (CROWD="--rounds 1 --seconds 2 --idle 0")
	$(CARGO) build --release --locked -p lanyard-agent -p lanyard-coordinator -p lanyard-netns
	@LANYARD_BIN_DIR=$(CARGO_TARGET_DIR)/release tests/as-root $(CARGO_TARGET_DIR)/release/crowd $(CROWD)

endure: setup ## half an hour at full speed with path switches, rekeys and 1 % loss (ENDURE="--minutes 3 --link veth")
	$(CARGO) build --release --locked -p lanyard-agent -p lanyard-coordinator -p lanyard-netns
	@LANYARD_BIN_DIR=$(CARGO_TARGET_DIR)/release tests/as-root $(CARGO_TARGET_DIR)/release/endure $(ENDURE)

# What the panel is built of. Cargo embeds web/dist where it is, so that the panel comes first in `make test`; without changes
# neither is built anew. LANYARD_WITHOUT_PANEL=1 leaves it out where Node is too old.
WEB_SOURCES := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print)
WEB := $(if $(LANYARD_WITHOUT_PANEL),,web/dist/index.html)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(+(a * 100 + +b < 2019))' || \
		{ echo "make: the panel needs Node 20.19 or newer and npm; LANYARD_WITHOUT_PANEL=1 leaves the panel out" >&2; exit 1; }
	cd web && npm ci
	@touch $@

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && npm run build
	@touch $@

web: $(WEB) ## the panel, to be embedded by the next build of the coordinator (needs Node 20.19)

# Machines that run all tests are seldom idle: times are judged there against several times what `npm run browser` allows.
panel: export KEY_MAX_MS ?= 300
panel: export DELTA_MAX_MS ?= 600
panel: web ## its tests, also in a browser (needs chromium; CHROMIUM=path)
	$(if $(WEB),cd web && npm run check && npm test && npm run browser,@echo "make: the panel was left out")

types: web/node_modules/.package-lock.json ## web/openapi.json as the handlers declare it, and the panel's types made of it
	LANYARD_RENEW=1 $(CARGO) test --locked -p lanyard-coordinator --lib the_copy_in_web_is_the_document
	cd web && npm run types

screenshots: setup web ## every page of it and of the pages in front of it, of a made-up town, into docs/screenshots; fails when anything is cut off or overlaps
	$(CARGO) build --locked -p lanyard-coordinator
	cd web && npm run screenshots

api: setup build ## the HTTP interface asked by its own document, on both databases (EXAMPLES=50 of each operation)
	tests/api/run $(or $(EXAMPLES),50)

fuzz: ## every fuzz target for SECONDS_EACH=60 seconds (needs a nightly toolchain)
	tests/fuzz/run.sh $(or $(SECONDS_EACH),60)

windows: ## the agent for Windows: clippy, then its tests under wine (installs a cross compiler and wine)
	packaging/cross.sh
	$(CROSS) clippy $(FOR_WINDOWS) --all-targets -- -D warnings
	$(CROSS) test $(FOR_WINDOWS) --lib --bins

macos: ## the agent for macOS: clippy (installs a cross compiler)
	packaging/cross.sh --no-wine aarch64-apple-darwin
	$(CROSS) clippy $(FOR_MACOS) --all-targets -- -D warnings

deny: ## licences, advisories, sources (needs cargo-deny)
	$(CARGO) deny check

clean: ## remove what was built
	$(CARGO) clean

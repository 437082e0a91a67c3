# postrider. `make` alone lists what there is to do; ARGS passes words on, as in `make demo ARGS="--count 5 --exit"`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
TARGET = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
KAFKA := tests/kafka/kafka.sh
FUZZ := tests/fuzz
DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
HELM_VERSION := v3.22.0
KUBECONFORM_VERSION := v0.8.0
HELM = $(shell command -v helm || echo "$$(go env GOPATH)/bin/helm")
# Lets the tests end the daemon at named points. Never part of a release.
FAILPOINTS := --features postrider/failpoints

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Ends by itself; `make demo ARGS=` goes on until Ctrl-C.
.PHONY: demo
demo: ARGS ?= --count 12 --exit
demo: build-tools ## See postrider work: an embedded broker, a receiver, three webhooks, sample events
	$(CARGO) run --locked --package postrider -- demo $(ARGS)

# Half of the time tests wait: for Kafka, for what is due, for patience to run out.
TEST_THREADS = $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# The binary is built with the features that the tests are built with, so that nothing is compiled twice. The chaos
# tests come after the others: some of them measure, and need the machine for themselves. With ARGS they are left out.
.PHONY: test
test: build-tools kafka-tools python-tools browser-tools deploy-tools ## Run every test, those against a real Kafka and the quick chaos tests included
	$(CARGO) build --locked --workspace $(FAILPOINTS) --lib --bins --tests
	failed=0; \
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$(TEST_THREADS)} POSTRIDER_BIN="$(TARGET)/debug/postrider" \
		$(CARGO) test --locked --workspace $(FAILPOINTS) --no-fail-fast $(ARGS) \
		|| failed=1; \
	[ -n "$(ARGS)" ] || $(MAKE) --no-print-directory run-check-deploy || failed=1; \
	[ -n "$(ARGS)" ] || $(MAKE) --no-print-directory run-chaos CHAOS=quick || failed=1; \
	exit $$failed

# CHAOS=quick takes minutes instead of hours. CHAOS_SEED=… makes the choices of an earlier run again. ARGS names
# tests, as in `make chaos ARGS=kills`.
CHAOS ?= long
.PHONY: chaos
chaos: build-tools kafka-tools deploy-tools run-chaos ## The chaos tests: kills, broken brokers, lost replies, big backlogs, held against the laws

.PHONY: run-chaos
run-chaos:
	$(CARGO) build --locked --workspace $(FAILPOINTS) --lib --bins --tests
	CHAOS=$(CHAOS) POSTRIDER_BIN="$(TARGET)/debug/postrider" $(CARGO) test --locked --workspace $(FAILPOINTS) \
		--no-fail-fast --test chaos -- --test-threads=1 $(ARGS)

.PHONY: check
check: build-tools lint-tools check-format check-lint check-docs check-dependencies ## Format, lints, docs, dependencies

.PHONY: check-format
check-format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path $(FUZZ)/Cargo.toml --check

# All targets are those that are tested without being named: the chaos tests are not among them. One call for the workspace,
# because what a package is built with depends on what else is: by itself, half of what it needs is compiled again.
.PHONY: check-lint
check-lint:
	$(CARGO) clippy --locked --workspace --features postrider-benches/broker --all-targets --test chaos -- -D warnings
	$(CARGO) clippy --locked --manifest-path $(FUZZ)/Cargo.toml --target-dir "$(TARGET)" -- -D warnings

.PHONY: check-docs
check-docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

# Advisories come from a database on the internet; without it the rest is checked all the same, and said so.
.PHONY: check-dependencies
check-dependencies: deny-tool
	$(CARGO) deny --locked check bans licenses sources
	@if timeout 120 $(CARGO) deny --locked fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --locked check --disable-fetch advisories; \
	else \
		echo "advisories: NOT checked, the advisory database could not be fetched"; \
	fi

# ARGS names targets, as in `make fuzz FUZZ_SECONDS=600 ARGS=decoder`.
FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: build-tools fuzz-tool ## Feed the parsers of foreign text with made-up input, FUZZ_SECONDS=60 each
	@CARGO="$(CARGO)" $(FUZZ)/fuzz.sh $(FUZZ_SECONDS) $(ARGS)

# The release binary and a real broker: half an hour, and some GB of disk. ARGS names parts, as in
# `make bench ARGS=drain-256`; BENCH_EVENTS, BENCH_SECONDS, BENCH_RATE say how much. benches/README.md has the rest.
BENCH = BENCH_OUT="$(TARGET)/bench" BENCH_PROFILE="$${BENCH_PROFILE:-release, LTO $${CARGO_PROFILE_RELEASE_LTO:-as in Cargo.toml}}" \
	POSTRIDER_BIN="$(TARGET)/release/postrider" $(CARGO) bench --locked --package postrider-benches --features broker
.PHONY: bench
bench: build-tools kafka-tools ## Measure throughput, cost and latency on a real broker, beside a bare client
	$(CARGO) build --locked --release --package postrider
	$(BENCH) --bench end_to_end -- $(ARGS)

.PHONY: bench-pure
bench-pure: build-tools ## Time the steps of an event one by one, without a broker
	$(CARGO) bench --locked --package postrider-benches --bench routing --bench steps -- $(ARGS)

# BENCH_ACCEPT=1 accepts new numbers.
.PHONY: bench-instructions
bench-instructions: build-tools valgrind-tools ## Count the instructions of those steps; fails when one became dearer
	BENCH_ACCEPT=$(BENCH_ACCEPT) $(CARGO) bench --locked --package postrider-benches --bench instructions

.PHONY: bench-peers
bench-peers: build-tools kafka-tools ## The same drain by Bento, Redpanda Connect and Vector, where they are installed
	$(CARGO) build --locked --release --package postrider
	$(BENCH) --bench end_to_end -- drain-256 peers

# A million outcomes on a real broker: minutes, and 5 GB of disk.
.PHONY: bench-logs
bench-logs: build-tools kafka-tools ## Measure the index of the logs: rows a second, answers, kills, building it again
	$(CARGO) build --locked --release --package postrider
	$(BENCH) --bench logs

.PHONY: kafka
kafka: kafka-tools ## Start a real Kafka on 127.0.0.1:19092 to play with
	@$(KAFKA) start
	@echo "stop it with: $(KAFKA) stop    more: $(KAFKA) help"

# Image, compose, systemd, Debian, Helm, Prometheus, Grafana and analytics, each read by its own tool; the dashboards'
# queries are asked of a real Prometheus that scrapes `postrider demo`. ARGS names checks, as in `make check-deploy ARGS=helm`.
.PHONY: check-deploy
check-deploy: build-tools deploy-tools ## Check what is in deploy/ with the tools that will read it
	$(CARGO) build --locked --workspace $(FAILPOINTS) --lib --bins --tests
	@$(MAKE) --no-print-directory run-check-deploy

.PHONY: run-check-deploy
run-check-deploy:
	POSTRIDER_BIN="$(TARGET)/debug/postrider" tests/deploy/check.sh "$(TARGET)/deploy-tools" $(ARGS)

# Building them takes minutes, so that `make check-deploy` only says when they are missing.
.PHONY: helm-tools
helm-tools: ## Install helm and kubeconform, which check the chart
	go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)
	go install github.com/yannh/kubeconform/cmd/kubeconform@$(KUBECONFORM_VERSION)

# The first line and the version of Kubernetes are those of tests/deploy/check.py.
.PHONY: kubernetes
kubernetes: ## Write deploy/kubernetes/postrider.yaml from the chart
	@{ echo '# What `helm template` makes of the chart'"'"'s defaults: make kubernetes. Change the chart, not this file.'; \
		"$(HELM)" template postrider deploy/helm/postrider --namespace postrider --kube-version 1.33.0; \
	} > deploy/kubernetes/postrider.yaml

.PHONY: dashboards
dashboards: ## Write the dashboards of deploy/grafana from their script
	@deploy/grafana/dashboards.py

.PHONY: schemas
schemas: build-tools ## Check the JSON Schemas against their examples, the samples and the code
	$(CARGO) test --locked --package postrider-tests --test it schemas::

.PHONY: clean
clean: ## Stop Kafka, remove its data and everything built
	$(KAFKA) wipe
	rm -rf .kafka $(FUZZ)/target
	$(CARGO) clean

.PHONY: build-tools
build-tools:
	@.ci/setup build

.PHONY: lint-tools
lint-tools:
	@.ci/setup lint

.PHONY: kafka-tools
kafka-tools:
	@.ci/setup kafka
	@$(KAFKA) install

.PHONY: python-tools
python-tools:
	@.ci/setup python

.PHONY: browser-tools
browser-tools:
	@.ci/setup browser

.PHONY: deploy-tools
deploy-tools:
	@.ci/setup deploy

.PHONY: valgrind-tools
valgrind-tools:
	@.ci/setup valgrind

# Not optimised, which takes minutes off: it runs for seconds.
.PHONY: deny-tool
deny-tool:
	@$(CARGO) deny --version 2>/dev/null | grep -qF "$(DENY_VERSION)" || \
		CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --debug --locked cargo-deny --version $(DENY_VERSION)

.PHONY: fuzz-tool
fuzz-tool:
	@$(CARGO) fuzz --version 2>/dev/null | grep -qF "$(CARGO_FUZZ_VERSION)" || \
		$(CARGO) install --locked cargo-fuzz --version $(CARGO_FUZZ_VERSION)

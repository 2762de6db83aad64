# The front door for people: every command of the project, each safe to repeat.
# What a command does is in scripts/; what a machine lacks is installed by scripts/deps.
#
#   make help                     what there is
#   make test PROFILE=release     test the optimised build instead of the quick one
#   make test PG=18               on another PostgreSQL than Debian's 15: 13, 16, 17, 18
#   make install PG_CONFIG=/path  on one of your own
#   make up PORT=28801            another port for the development cluster

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Cargo keeps every core busy by itself, and the steps share one installed extension.
.NOTPARALLEL:

# Assertions and a short build for tests, the optimised build for everything a person looks at.
install up demo chaos: export PROFILE ?= release
test test-all test-unit test-regress test-e2e: export PROFILE ?= dev

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install what building and testing need (Debian packages, cargo-pgrx)
	@scripts/deps

.PHONY: install
install: deps ## build the extension and install it into PostgreSQL
	@scripts/install

.PHONY: up psql down clean-cluster
up: install ## start the development cluster on 127.0.0.1:28800, database whaply
	@scripts/dev-cluster up
psql: ## open psql in the development cluster
	@scripts/dev-cluster psql
down: ## stop the development cluster; its data stays
	@scripts/dev-cluster down
clean-cluster: ## stop the development cluster and remove its data
	@scripts/dev-cluster remove

.PHONY: demo
demo: install ## show a whole conversation; fails when the demo fails
	@scripts/demo

.PHONY: lint fmt
lint: deps ## rustfmt and clippy, warnings are errors
	@scripts/lint
fmt: ## format the Rust code
	@cargo fmt --all

.PHONY: test test-all test-unit test-regress test-e2e
test: deps ## lint, then every tier of tests, with a summary; PG=18 on that version
	@scripts/test
test-all: deps ## make test on PostgreSQL 15, 16, 17, 18 and 13, and test-package (an hour and a half)
	@scripts/test-all
test-unit: deps ## unit tests and #[pg_test]
	@scripts/test unit
test-regress: deps ## SQL tests in tests/pg_regress; TESTS="a b" runs these only
	@scripts/test install regress
test-e2e: deps ## end-to-end tests; TESTS=name runs those that contain it
	@scripts/test install e2e

.PHONY: chaos
chaos: install ## the long tests: 20,000 random histories, 200 kills under load
	@scripts/chaos

.PHONY: fuzz
fuzz: ## throw bad input at every reader, a minute each (FUZZ_SECONDS=60, TARGETS="webhook front_door")
	@scripts/fuzz $(TARGETS)

.PHONY: bench
bench: deps ## measure beside the peers (25 minutes; ONLY=listener,ingest PAIRS=7 SECONDS=8 QUICK=1)
	@scripts/bench

.PHONY: package test-package
package: deps ## build a .deb for the PostgreSQL of PG: target/package/postgresql-15-whaply_*.deb
	@scripts/package
test-package: deps ## install and exercise the .deb in a clean Debian (root; PG=15 or 17)
	@scripts/test-package

.PHONY: release-script
release-script: install ## write sql/whaply--VERSION.sql from the code
	@scripts/release-script

.PHONY: clean
clean: clean-cluster ## remove all that was built, and the development cluster
	cargo clean

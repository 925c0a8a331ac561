# Two targets matter to everybody: `make demo` and `make test`. CARGO_TARGET_DIR is honoured.
SHELL := /bin/bash
.DEFAULT_GOAL := help
RUN := scripts/run-tests.sh

.PHONY: help demo test lint fmt torture bench openapi screenshots

help: ## says what the targets do
	@awk -F ': ## ' '/^[a-z]+:.*## / {split($$1, name, ":"); printf "make %-8s %s\n", name[1], $$2}' $(MAKEFILE_LIST)

demo: ## shows a campaign in a simulated mail world, then keeps serving
	@scripts/need.sh build
	cargo run --release -- demo $(ARGS)

test: ## runs every test, on SQLite and on PostgreSQL
	@scripts/need.sh test
	@$(RUN) --workspace $(ARGS)

lint: ## compares the formatting, then clippy and the type check of the pages
	@scripts/need.sh build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-ui.sh

fmt: ## formats the Rust sources
	cargo fmt --all

torture: ## crash, takeover and import tests with their full counts (takes long)
	@scripts/need.sh test
	POSTRIDER_TORTURE=full $(RUN) --release -p postrider --show-output $(ARGS)

bench: ## measures the throughput of a campaign beside what a self-hoster gets today
	@scripts/need.sh build
	cargo build --release
	python3 bench/campaign.py $(ARGS)

openapi: ## writes docs/openapi.json anew
	@scripts/need.sh build
	cargo run -q -- openapi > docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json

screenshots: ## makes pictures of every screen in target/screenshots, and says what axe finds
	@scripts/need.sh build
	cargo build -q -p postrider
	scripts/check-ui.sh
	scripts/browser.sh shots $(ARGS)

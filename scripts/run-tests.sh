#!/usr/bin/env bash
# Runs Rust tests with nextest where it is installed, else with `cargo test`. Its last line is the runner's summary.
# Usage: scripts/run-tests.sh [--show-output] ARGUMENTS OF CARGO...
set -euo pipefail

arguments=() show=""
for argument in "$@"; do
    if [ "$argument" = --show-output ]; then show=1; else arguments+=("$argument"); fi
done

if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --no-fail-fast ${show:+--success-output final} "${arguments[@]}"
fi
exec cargo test --no-fail-fast --lib --bins --tests "${arguments[@]}" -- ${show:+--nocapture}

#!/usr/bin/env bash
# Type check of the pages, and their tests that need no browser. It works on a copy: nothing is installed into the source tree.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${CARGO_TARGET_DIR:-target}/ui-check
mkdir -p "$work"
for old in "$work"/* "$work"/.npmrc; do
    [ "${old##*/}" = node_modules ] || rm -rf "$old"
done
tar -C ui --exclude=./node_modules --exclude=./dist -cf - . | tar -C "$work" -xf -
cp docs/openapi.json docs/domains.md "$work/"
cd "$work"
if ! cmp -s package-lock.json node_modules/.postrider-lock; then
    npm ci --no-audit --no-fund
    cp package-lock.json node_modules/.postrider-lock
fi
npm run --silent check
npm run --silent test

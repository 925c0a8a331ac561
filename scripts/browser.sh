#!/usr/bin/env bash
# The pages in a real browser (Debian's chromium), against the real program.
# Usage: scripts/browser.sh stories | shots [FOLDER] [ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
command -v "${CHROMIUM:=/usr/bin/chromium}" >/dev/null || {
    echo "chromium is missing: apt-get install -y --no-install-recommends chromium" >&2
    exit 1
}
work=${CARGO_TARGET_DIR:-target}
mkdir -p "$work"
work=$(cd "$work" && pwd)
export CHROMIUM POSTRIDER_UI_SRC=$root/ui/src POSTRIDER_BIN=${POSTRIDER_BIN:-$work/debug/postrider}
[ -x "$POSTRIDER_BIN" ] || { echo "$POSTRIDER_BIN is not there: cargo build" >&2; exit 1; }
[ -d "$work/ui-check/node_modules/playwright-core" ] || scripts/check-ui.sh
rm -rf "$work/ui-check/browser"
cp -r ui/browser "$work/ui-check/browser"
what=${1:-stories}
shift || true
cd "$work/ui-check"
case $what in
stories) exec node --test --test-reporter=spec "$@" browser/*.story.mjs ;;
shots)
    folder=${1:-$work/screenshots}
    shift || true
    exec node browser/shots.mjs "$folder" "$@"
    ;;
*) echo "stories or shots, not $what" >&2; exit 1 ;;
esac

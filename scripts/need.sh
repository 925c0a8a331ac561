#!/usr/bin/env bash
# Looks for what a target of the Makefile needs: installs it where that is possible (root on Debian), else prints
# the command that does. Usage: scripts/need.sh build | test
set -euo pipefail

what=${1:?usage: scripts/need.sh build|test}
rust="1.95" node_major=20 node_minor=19
problems=0

problem() {
    echo "missing: $1" >&2
    problems=$((problems + 1))
}

# apt PACKAGE...: 0 when they are installed now.
updated=""
apt() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || return 1
    if [ -z "$updated" ]; then
        apt-get update -qq >&2 || true
        updated=1
    fi
    echo "installing: $*" >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

need_rust() {
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        problem "cargo is in $HOME/.cargo/bin, which is not in PATH; run: export PATH=\"\$HOME/.cargo/bin:\$PATH\""
        return
    fi
    if ! command -v cargo >/dev/null; then
        problem "Rust $rust or later (cargo); install it with rustup: https://rustup.rs"
        return
    fi
    local found
    found=$(rustc --version | awk '{print $2}')
    at_least "${found%%-*}" "$rust" || problem "Rust $rust or later; this is $found; run: rustup update stable"
}

need_compiler() {
    command -v cc >/dev/null && return
    apt build-essential || problem "a C compiler; run: sudo apt-get install -y build-essential"
}

node_fits() {
    local found
    found=$(node --version 2>/dev/null) || return 1
    at_least "${found#v}" "$node_major.$node_minor" && command -v npm >/dev/null
}

need_node() {
    node_fits && return
    local offered
    offered=$(apt-cache policy nodejs 2>/dev/null | awk '/Candidate:/ {print $2}')
    if [ -n "$offered" ] && at_least "${offered%%[~+-]*}" "$node_major.$node_minor" && apt nodejs npm && node_fits; then
        return
    fi
    problem "Node $node_major.$node_minor or later with npm (here: $(node --version 2>/dev/null || echo none)); your distribution's
         package nodejs if it is new enough, else a build from the Node project; or set POSTRIDER_UI=none to leave the pages out"
}

postgres_found() {
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && return
    [ -x "$(pg_config --bindir 2>/dev/null)/initdb" ] && return
    command -v initdb >/dev/null
}

# Debian's package would make and start a server of its own, which nobody needs: the tests start a private one.
install_postgres() {
    local settings=/etc/postgresql-common/createcluster.d
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        mkdir -p "$settings"
        [ -e "$settings/postrider.conf" ] || echo 'create_main_cluster = false' >"$settings/postrider.conf"
    fi
    apt postgresql
}

need_postgres() {
    [ -n "${POSTRIDER_TEST_POSTGRES:-}" ] && return
    postgres_found && return
    install_postgres && postgres_found && return
    problem "PostgreSQL 15 or later for the tests; run: sudo apt-get install -y postgresql
         (or set POSTRIDER_TEST_POSTGRES to the address of a server whose account may create databases)"
}

need_rust
need_compiler
[ "${POSTRIDER_UI:-}" = none ] || [ -n "${POSTRIDER_UI_DIST:-}" ] || need_node
case $what in
build) ;;
test) need_postgres ;;
*)
    echo "usage: scripts/need.sh build|test" >&2
    exit 2
    ;;
esac
[ "$problems" = 0 ] || exit 1

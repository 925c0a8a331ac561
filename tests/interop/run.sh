#!/usr/bin/env bash
# Tests against servers and verifiers that we did not write: Postfix as MX and as smarthost, dkimpy, opendkim.
# Installs what it needs when it may (root), else says the command. Ends what it started.
set -euo pipefail
cd "$(dirname "$0")"
packages=(postfix opendkim opendkim-tools sasl2-bin libsasl2-modules openssl python3-venv)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command="apt-get install -y --no-install-recommends ${missing[*]}"
  if [ "$(id -u)" != 0 ]; then
    echo "these tests need Debian packages; run: sudo $command" >&2
    exit 1
  fi
  # No daemon of a package may start by itself: the tests start private instances.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
  fi
  echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections || true
  DEBIAN_FRONTEND=noninteractive apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $command
fi
if [ "$(id -u)" != 0 ]; then
  echo "a private Postfix has to be started by root: run these tests as root" >&2
  exit 1
fi
venv=${POSTRIDER_VENV:-${TMPDIR:-/tmp}/postrider-interop-venv}
if ! "$venv/bin/python" -c 'import dkim' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" -q install 'dkimpy==1.1.8' dnspython
fi
exec "$venv/bin/python" run.py "$@"

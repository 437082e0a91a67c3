#!/usr/bin/env bash
# Prints the folder with promtool and prometheus: the installed ones', else one in the folder named first, into which they
# are taken out of Debian's package without installing it, as that would start a server.
set -euo pipefail

tools=$1
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

has() { command -v "$1" >/dev/null 2>&1; }

if has promtool && has prometheus; then
  dirname "$(command -v prometheus)"
  exit
fi
if ! [ -x "$tools/prometheus/usr/bin/prometheus" ]; then
  has apt-get || { echo "prometheus.sh: promtool and prometheus are needed: install Prometheus" >&2; exit 1; }
  folder=$(mktemp -d)
  # apt's own user writes here.
  chmod 755 "$folder"
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download prometheus >&2)
  dpkg-deb --extract "$folder"/prometheus_*.deb "$tools/prometheus"
  rm -rf "$folder"
fi
echo "$tools/prometheus/usr/bin"

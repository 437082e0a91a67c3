#!/usr/bin/env bash
# Runs check.py with the tools it needs, which it puts into the folder named first: Python packages, and promtool and
# Prometheus taken out of Debian's package without installing it, as that would start a server. Further words name checks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tools=$1
shift
mkdir -p "$tools"
tools=$(cd "$tools" && pwd)

has() { command -v "$1" >/dev/null 2>&1; }

python_packages() {
  local wanted="tests/deploy/requirements.txt" stamp="$tools/requirements.txt"
  cmp -s "$wanted" "$stamp" && return
  python3 -m venv --clear "$tools/python"
  "$tools/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  cp "$wanted" "$stamp"
}

prometheus() {
  has promtool && has prometheus && return
  [ -x "$tools/prometheus/usr/bin/promtool" ] && return
  has apt-get || { echo "check-deploy: promtool and prometheus are needed: install Prometheus" >&2; exit 1; }
  local folder
  folder=$(mktemp -d)
  # apt's own user writes here.
  chmod 755 "$folder"
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download prometheus)
  dpkg-deb --extract "$folder"/prometheus_*.deb "$tools/prometheus"
  rm -rf "$folder"
}

python_packages
prometheus
gobin=""
has go && gobin=":$(go env GOPATH)/bin"
PATH="$tools/python/bin:$tools/prometheus/usr/bin:$PATH$gobin" exec "$tools/python/bin/python" tests/deploy/check.py "$@"

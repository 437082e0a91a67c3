#!/usr/bin/env bash
# Runs check.py with the tools it needs, which it puts into the folder named first: Python's and Node's packages, promtool
# and Prometheus. Further words name checks.
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

node_packages() {
  local wanted="tests/deploy/package-lock.json" stamp="$tools/node/stamp"
  cmp -s "$wanted" "$stamp" && return
  mkdir -p "$tools/node"
  cp tests/deploy/package.json "$wanted" "$tools/node"
  (cd "$tools/node" && npm ci --no-audit --no-fund --silent)
  cp "$wanted" "$stamp"
}

python_packages
node_packages
prometheus=$(tests/deploy/prometheus.sh "$tools")
gobin=""
has go && gobin=":$(go env GOPATH)/bin"
PATH="$tools/python/bin:$prometheus:$PATH$gobin" NODE_PATH="$tools/node/node_modules" exec "$tools/python/bin/python" tests/deploy/check.py "$@"

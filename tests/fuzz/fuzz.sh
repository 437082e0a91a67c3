#!/usr/bin/env bash
# Runs fuzz targets, one after the other, and tells of each how many inputs it tried. Exits 1 when one found something.
#   fuzz.sh SECONDS [TARGET…]   every target for so many seconds; without names all of them
#
# Seeds are in seeds/, and are kept. What a run adds to them stays in corpus/, what it finds in artifacts/; neither is
# committed. A finding is run again with: cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none TARGET FILE
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

FUZZ=tests/fuzz
CARGO=${CARGO:-cargo}
# Longer than what any target takes at most: 4,096 bytes of a URL.
MAX_LEN=5000
# No parser needs a second for so little.
TIMEOUT=10

# postrider's code has no unsafe in it, so that an address sanitizer would find nothing. Without one the stable
# toolchain will do.
fuzz() { "$CARGO" fuzz "$1" --fuzz-dir "$FUZZ" --sanitizer none "${@:2}"; }

targets() { sed -n 's/^name = "\(.*\)"/\1/p' "$FUZZ/Cargo.toml" | tail -n +2; }

run() {
  local target=$1 log=$logs/$1
  mkdir -p "$FUZZ/corpus/$target"
  if fuzz run "$target" "$FUZZ/corpus/$target" "$FUZZ/seeds/$target" -- -max_total_time="$seconds" \
    -max_len="$MAX_LEN" -timeout="$TIMEOUT" -dict="$FUZZ/words.dict" -print_final_stats=1 >"$log" 2>&1; then
    printf '%-16s %s inputs, nothing found\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  else
    printf '%-16s FAILED\n' "$target"
    grep -E -A 3 'panicked at|^SUMMARY|Test unit written' "$log" || tail -n 40 "$log"
    return 1
  fi
}

[ $# -gt 0 ] || { echo "usage: fuzz.sh SECONDS [TARGET…]" >&2; exit 2; }
seconds=$1
shift
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# cargo-fuzz cannot be told to keep to the lock file; this can.
"$CARGO" fetch --locked --quiet --manifest-path "$FUZZ/Cargo.toml" && fuzz build || exit 1
failed=0
for target in ${@:-$(targets)}; do run "$target" || failed=1; done
exit $failed

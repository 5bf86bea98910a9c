#!/usr/bin/env bash
# Peak memory of trainings with large tables beside what is said before them, by /usr/bin/time:
#   bash benches/large_tables.sh cpu llvmpipe
# Ten million rows of 16 on the device, and a hundred million rows of 8 in the host's memory, for each device. The latter
# take 10 GB of memory and 13 GB of disk; `POLYGATE=...` names a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."

polygate=${POLYGATE:-target/release/polygate}
[ -n "${POLYGATE:-}" ] || cargo build --release --quiet

run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT

measure() { # device, what, settings...
    local device=$1 what=$2
    shift 2
    local set=()
    for setting in "$@"; do set+=(--set "$setting"); done
    rm -rf "$run/out"
    /usr/bin/time -v "$polygate" train configs/large_tables.toml --device "$device" --out "$run/out" --no-tune \
        "${set[@]}" >"$run/stdout" 2>"$run/stderr" || { cat "$run/stderr"; exit 1; }
    echo "$what on $device"
    grep -E "^memory on|Maximum resident|Elapsed" "$run/stderr" | sed 's/^[[:space:]]*/  /'
}

for device in "$@"; do
    measure "$device" "10 million rows x 16" table.0.placement=device feature.1.hash_buckets=10000000 \
        feature.1.embedding_dim=16
    measure "$device" "100 million rows x 8, placement = host" feature.1.hash_buckets=100000000
done

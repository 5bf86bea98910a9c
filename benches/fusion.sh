#!/usr/bin/env bash
# What fusing a level into one dispatch is worth: the kernels of levels in all their variants, `phases` being a dispatch per
# layer. Writes benches/results/fusion.csv and benches/RESULTS.md.
#
#     bash benches/fusion.sh [DEVICE]...    default: llvmpipe swiftshader
#
# A few minutes for each software device. POLYGATE_DATA is the data folder (default ../shared/data beside the repository).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || set -- llvmpipe swiftshader
export POLYGATE_DATA=${POLYGATE_DATA:-../shared/data}
cargo build --release --quiet
polygate=${CARGO_TARGET_DIR:-target}/release/polygate
python3 benches/report.py --note fusion

log=$(mktemp)
for device; do
    for kernel in "level 0 forward" "towers and loss" "level 0 input gradient"; do
        "$polygate" profile configs/kuairand_mmoe.toml --device "$device" --kernel "$kernel" |
            awk -F '|' -v OFS=, -v device="$device" -v kernel="$kernel" \
                '/^\| *(group|lanes|phases) /{gsub(/^ +| +$/, "", $2); gsub(/ /, "", $3); print device, kernel, $2, $3}' |
            tee -a "$log"
    done
done
{ echo device,kernel,variant,ms && cat "$log"; } > benches/results/fusion.csv
rm "$log"
python3 benches/report.py

#!/usr/bin/env bash
# Step time against batch, experts, tasks and table rows on devices, into benches/results/growth.csv, and the plot of it,
# docs/growth.svg, and benches/RESULTS.md.
#
#     bash benches/growth.sh [DEVICE]...    default: cpu llvmpipe
#
# About 5 minutes for each device on two cores. POLYGATE_GROWTH holds flags, as --max-seconds 10 or --axis batch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -gt 0 ] || set -- cpu llvmpipe
cargo bench --bench growth --no-run
python3 benches/report.py --note growth
for device; do
    # shellcheck disable=SC2086
    cargo bench --bench growth -- run --device "$device" --steps 15 --max-seconds 20 ${POLYGATE_GROWTH:-}
done
cargo bench --bench growth -- plot
python3 benches/report.py

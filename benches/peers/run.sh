#!/usr/bin/env bash
# Times polygate's train step beside PyTorch's and burn's, pair by pair, and writes benches/results/peers.csv and
# benches/RESULTS.md.
#
#     bash benches/peers/run.sh [--quick] [--case PART_OF_A_NAME]... [--rounds N]
#
# PYTHON names a Python with torch (and pandas, for benches/csv.sh); without it one is set up under target/peers/venv.
# The first run also builds burn: 15 to 20 minutes on two cores. VK_DRIVER_FILES may name llvmpipe's driver.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mkdir -p target/peers

if [ -z "${PYTHON:-}" ]; then
    PYTHON=target/peers/venv/bin/python
    if ! "$PYTHON" -c 'import torch, numpy, pandas' 2>/dev/null; then
        python3 -m venv target/peers/venv
        "$PYTHON" -m pip install --quiet torch numpy pandas
    fi
fi

# One target folder for both; the second build redoes only the packages whose features differ.
build_burn() { # NAME FEATURES
    local source=benches/peers/burn/src/main.rs
    if [ ! -x "target/peers/$1" ] || [ "$source" -nt "target/peers/$1" ]; then
        cargo build --release --locked --manifest-path benches/peers/burn/Cargo.toml --target-dir target/peers/burn \
            --features "$2"
        cp target/peers/burn/release/burn_peer "target/peers/$1"
    fi
}
flex=flex
if grep -qs avx512f /proc/cpuinfo; then flex=flex-avx512; fi
build_burn burn_wgpu wgpu,burn-default
build_burn burn_flex "$flex,burn-default"

"$PYTHON" benches/peers/compare.py "$@"
"$PYTHON" benches/report.py

#!/usr/bin/env bash
# Trains every config of the real data sets over three seeds on `cpu`, and one config per data set on a software
# adapter beside it, and writes the tables to benches/results/. tests/results.rs holds them to the reference figures.
#
#     bash benches/real_data.sh [ADAPTER]        ADAPTER: part of a name, default llvmpipe
#
# About 25 minutes on two cores. The data folder is POLYGATE_DATA, default ../shared/data beside the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
adapter=${1:-llvmpipe}
export POLYGATE_DATA=${POLYGATE_DATA:-../shared/data}
cargo build --release
for group in census_noedu census census_college kuairand; do
    ./target/release/polygate compare configs/"$group"_{shared_bottom,omoe,mmoe,cgc,ple}.toml --seeds 3 --device cpu \
        --csv "benches/results/$group.csv" | tee "benches/results/$group.md"
done
for config in census_mmoe kuairand_mmoe; do
    for device in cpu "$adapter"; do
        name=${device/$adapter/adapter}
        ./target/release/polygate compare "configs/$config.toml" --device "$device" \
            --csv "benches/results/${config}_on_$name.csv" | tee "benches/results/${config}_on_$name.md"
    done
done

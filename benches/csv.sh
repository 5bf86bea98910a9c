#!/usr/bin/env bash
# Reading and encoding of the real data sets beside pandas, and polygate's time from the files to the first step, on
# uncompressed CSV and, of KuaiRand, on Parquet. Writes benches/results/csv.csv and benches/RESULTS.md.
#
#     bash benches/csv.sh [ROUNDS]          default 5
#
# POLYGATE_DATA is the data folder (default ../shared/data beside the repository), PYTHON a Python with pandas (default:
# the one that benches/peers/run.sh sets up). Parquet takes pyarrow there, too, and is left out without it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
rounds=${1:-5}
data=${POLYGATE_DATA:-../shared/data}
python=${PYTHON:-target/peers/venv/bin/python}
plain=target/csv
mkdir -p "$plain"/{kuairand-pure,census-income}
for file in kuairand-pure/{log_standard_0425_0508,user_features_pure,video_features_basic_pure}.csv \
    census-income/census-income.{data,test}; do
    [ -f "$plain/$file" ] || gunzip -c "$data/$file.gz" > "$plain/$file"
done
"$python" benches/csv_to_parquet.py "$plain"/kuairand-pure/*.csv || echo "no Parquet: $python has no pyarrow" >&2
cargo bench --bench csv --no-run
"$python" benches/report.py --note csv

polygate() { # NAME, flags
    cargo bench --quiet --bench csv -- "configs/$1_mmoe.toml" --data-dir "$plain" "${@:2}"
}
kuairand=(--set 'data.train=["kuairand-pure/log_standard_0425_0508.csv"]'
    --set data.join.0.file=kuairand-pure/user_features_pure.csv
    --set data.join.1.file=kuairand-pure/video_features_basic_pure.csv)
parquet=("${kuairand[@]//.csv/.parquet}")
census=(--set 'data.train=["census-income/census-income.data"]' --set 'data.test=["census-income/census-income.test"]')

log=$(mktemp)
for _ in $(seq "$rounds"); do
    polygate kuairand "${kuairand[@]}" | sed 's/^{/{"data":"kuairand",/' | tee -a "$log"
    if [ -f "$plain/kuairand-pure/log_standard_0425_0508.parquet" ]; then
        polygate kuairand "${parquet[@]}" | sed 's/^{/{"data":"kuairand",/; s/"polygate"/"polygate, Parquet"/' | tee -a "$log"
    fi
    "$python" benches/csv_pandas.py kuairand "$plain/kuairand-pure" | sed 's/^{/{"data":"kuairand",/' | tee -a "$log"
    polygate census "${census[@]}" | sed 's/^{/{"data":"census",/' | tee -a "$log"
    "$python" benches/csv_pandas.py census "$plain/census-income" | sed 's/^{/{"data":"census",/' | tee -a "$log"
done
"$python" benches/report.py --add-csv "$log"
rm "$log"

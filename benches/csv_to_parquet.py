"""Writes CSV files as Parquet beside them, as pandas does by default (snappy), in row groups of 100,000 rows.

    python3 csv_to_parquet.py FILE.csv...
"""

import pathlib
import sys

import pandas as pd

for name in sys.argv[1:]:
    path = pathlib.Path(name).with_suffix(".parquet")
    if not path.exists():
        pd.read_csv(name).to_parquet(path, index=False, row_group_size=100_000)

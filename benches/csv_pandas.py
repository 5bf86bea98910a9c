"""The reading and encoding of configs/kuairand_mmoe.toml and configs/census_mmoe.toml in pandas, as one line of JSON.

    python3 csv_pandas.py kuairand|census DATA_DIR

Reads only the columns that are used, with pandas' own inference of types (reading all as text is slower). The result is
the same: categories numbered by the training rows, unknown ones 0, numbers scaled to [0, 1], labels as float32.
"""

import json
import pathlib
import sys
import time
import tomllib

import numpy as np
import pandas as pd

ROOT = pathlib.Path(__file__).resolve().parent.parent


def features(config):
    """Names of the categories and of the numbers."""
    kinds = {"category": [], "numeric": []}
    for feature in config["feature"]:
        kinds[feature["kind"]] += feature.get("names", [feature.get("name")])
    return kinds["category"], kinds["numeric"]


def codes(train, test):
    train_codes, values = pd.factorize(train)
    return [np.asarray(c + 1, dtype=np.uint32) for c in (train_codes, pd.Index(values).get_indexer(test))]


def kuairand(folder):
    config = tomllib.loads((ROOT / "configs/kuairand_mmoe.toml").read_text())
    categories, _ = features(config)
    labels = [task["name"] for task in config["task"]]
    users = pd.read_csv(folder / "user_features_pure.csv", usecols=lambda c: c == "user_id" or c in categories)
    videos = pd.read_csv(folder / "video_features_basic_pure.csv", usecols=lambda c: c == "video_id" or c in categories)
    log = pd.read_csv(folder / "log_standard_0425_0508.csv", usecols=["user_id", "video_id", "date", "tab", *labels])
    log = log[log["tab"].isin(config["data"]["filter"]["tab"])]
    log = log.merge(users, on="user_id", how="left").merge(videos, on="video_id", how="left")
    log["tag"] = log["tag"].str.partition(",")[0]
    is_test = log["date"] >= config["data"]["split"]["test_from"]
    train, test = log[~is_test], log[is_test]
    encoded = [codes(train[c], test[c]) for c in categories]
    targets = [part[labels].to_numpy(np.float32) for part in (train, test)]
    groups = [part["user_id"].to_numpy() for part in (train, test)]
    return len(log), (encoded, targets, groups)


def census(folder):
    config = tomllib.loads((ROOT / "configs/census_mmoe.toml").read_text())
    categories, numbers = features(config)
    names = config["data"]["columns"]
    used = [*categories, *numbers, "income_50k", "marital_stat"]
    read = dict(header=None, names=names, usecols=list(dict.fromkeys(used)), skipinitialspace=True, na_values=["?"])
    train = pd.read_csv(folder / "census-income.data", **read)
    test = pd.read_csv(folder / "census-income.test", **read)
    encoded = [codes(train[c], test[c]) for c in categories]
    least, most = train[numbers].min(), train[numbers].max()
    dense = [((part[numbers] - least) / (most - least)).to_numpy(np.float32) for part in (train, test)]
    positive = {"income_50k": "50000+.", "marital_stat": "Never married"}
    targets = [np.stack([(part[c] == v).to_numpy(np.float32) for c, v in positive.items()], 1) for part in (train, test)]
    return len(train) + len(test), (encoded, dense, targets)


def main():
    which, folder = {"kuairand": kuairand, "census": census}[sys.argv[1]], pathlib.Path(sys.argv[2])
    start = time.perf_counter()
    rows, _ = which(folder)
    seconds = time.perf_counter() - start
    print(json.dumps({"system": f"pandas {pd.__version__}", "rows": rows, "encode_s": seconds}))


if __name__ == "__main__":
    main()

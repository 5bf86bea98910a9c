"""Measures the host's side of the training loop into benches/results/host.csv, then `report.py` writes RESULTS.md.

    python3 host.py --program REVISION=FILE [--program REVISION=FILE ...] [--rounds 3] [LAUNCHER ...]

FILE is what `cargo bench --bench host --no-run` built at a revision; several take turns, round after round. LAUNCHER and
its arguments, if any, start a program on a stand-in for a GPU, whose adapter is number 0.
"""

import argparse
import csv
import datetime
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from machine import machine  # noqa: E402

RESULTS = HERE / "results" / "host.csv"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", action="append", required=True, metavar="REVISION=FILE")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("launcher", nargs="*")
    a = p.parse_args()
    programs = [program.split("=", 1) for program in a.program]
    date, cpu = datetime.date.today().isoformat(), machine(sys.executable)["cpu"]
    rows = []
    for number in range(1, a.rounds + 1):
        for revision, file in programs:
            for values in [[], ["--values"]]:
                load = f"{os.getloadavg()[0]:.1f}"
                command = [*a.launcher, file, "--device", "0", "--csv", *values]
                out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                about = {"round": number, "polygate": revision, "date": date, "cpu": cpu, "load": load}
                rows += [{**row, **about} for row in csv.DictReader(out.splitlines())]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

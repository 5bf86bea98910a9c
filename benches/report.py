"""Writes benches/RESULTS.md from the tables in benches/results. Needs nothing but Python.

    python3 report.py [--note growth|csv] [--add-csv LOG]

Each part stands under the machine that its figures were taken on, which the scripts beside this file have noted before
they measure (--note). --add-csv first makes results/csv.csv of the lines that benches/csv.sh prints.
"""

import argparse
import csv
import json
import math
import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from machine import machine  # noqa: E402

RESULTS = HERE / "results"
# The share of the cores' time that others may take of a machine that is called idle.
IDLE = 0.1

HEAD = """# Speed

Written by `benches/report.py` from the tables in `benches/results/`. Figures hold for the machine and the versions named
with them, and ratios between figures of one part only: the systems of a case ran in turn, round after round, and each
figure is the median over rounds.
"""

PEERS = """\
A train step is forward, backward and optimizer (Adam). The standard MMoE: 320 inputs, 4 experts [128, 64], 3 tasks, each
with a gate MLP [128, 64] and a tower [128, 64]; ReLU. Shared-Bottom: one such expert. PLE: 2 levels of one expert per
task and 2 shared ones, linear gates. "tables": the 320 inputs come from 20 tables of 10,000 x 16. All systems start from
the same parameters and data; a run in which the parameter counts, the operations or the first losses differ is refused.

"samples/s": batch over the median step, each step waited for. "queued": the same steps with one wait at the end.
"ratio": the first system of a table over the other, so that above 1 the first is faster. With tables, polygate's step
includes the sorting of the batch's ids on the host.
"""


def read(name):
    path = RESULTS / name
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(header, rows):
    align = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in [header, align, *rows])


def about(name, command):
    path = RESULTS / f"{name}_machine.json"
    if not path.exists():
        return f"`{command}`\n"
    m = json.loads(path.read_text())
    used = {"growth": ["rustc", "polygate"], "fusion": ["rustc", "polygate"], "csv": ["rustc", "polygate", "pandas"]}
    versions = ", ".join(f"{key} {m[key].removeprefix(key + ' ')}" for key in used.get(name, ["rustc", "polygate", "torch", "burn"]))
    text = f"`{command}`, {m['date']}. {m['cpu']}; {m['memory']}; {m['system']}. {versions}.\n"
    if m.get("busy") is None:
        text += f"\nHow busy the machine was with other things is not known; its load average at the start was {m.get('load')}.\n"
    elif m["busy"] > IDLE:
        text += f"\n**The machine was not idle** ({m['busy']} of its cores' time at the start): these figures only show that the " \
                "script runs.\n"
    return text


def thousands(x):
    return f"{x:,.0f}"


def peers():
    rows = read("peers.csv")
    if not rows:
        return ""
    out = ["\n## Train step beside PyTorch and burn\n", about("peers", "bash benches/peers/run.sh"), PEERS,
           "Cases are measured one by one; each has its own date, revision and machine.\n"]
    cases = dict.fromkeys((r["case"], r["batch"]) for r in rows)
    for case, batch in cases:
        mine = [r for r in rows if (r["case"], r["batch"]) == (case, batch)]
        systems = list(dict.fromkeys(r["system"] for r in mine))

        def of(system, key):
            return statistics.median(float(r[key]) for r in mine if r["system"] == system)

        lines = []
        for system in systems:
            waited, queued = of(system, "samples_per_s"), of(system, "samples_per_s_queued")
            runs = [float(r["samples_per_s"]) for r in mine if r["system"] == system]
            ratio = [of(systems[0], key) / x for key, x in [("samples_per_s", waited), ("samples_per_s_queued", queued)]]
            gflops = of(system, "flops_per_step") / of(system, "step_ms_median") / 1e6
            lines.append([system, thousands(waited), f"{thousands(min(runs))} to {thousands(max(runs))}", thousands(queued),
                          f"{gflops:.1f}", *(["", ""] if system == systems[0] else [f"{x:.2f}" for x in ratio])])
        first = mine[0]
        busy = f"; **not idle** ({first['busy']} of the cores' time at the start)" if float(first["busy"] or 0) > IDLE else ""
        out.append(f"\n### {case}, batch {batch}\n\n{first['device']}; {len(runs)} rounds; {first['date'][:10]}, polygate "
                   f"{first['polygate']}, {first['cpu']}{busy}\n")
        out.append(table(["system", "samples/s", "rounds", "queued", "GFLOP/s", "ratio", "ratio, queued"], lines) + "\n")
    return "\n".join(out)


def exponent(points):
    """As benches/growth/table.rs: least squares on logarithms over the upper half of the range."""
    middle = math.sqrt(points[0][0] * points[-1][0]) * (1 - 1e-9)
    logs = [(math.log(x), math.log(y)) for x, y in points if x >= middle]
    mean_x, mean_y = (statistics.mean(column) for column in zip(*logs))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def growth():
    rows = read("growth.csv")
    if not rows:
        return ""
    lines = []
    for device, axis in dict.fromkeys((r["device"], r["axis"]) for r in rows):
        mine = sorted((int(r["value"]), float(r["step_ms"])) for r in rows if (r["device"], r["axis"]) == (device, axis))
        (low, low_ms), (high, high_ms) = mine[0], mine[-1]
        fit = f"{exponent(mine):.2f}" if len(mine) > 1 else ""
        lines.append([device, axis.replace("_", " "), f"{low:,} to {high:,}", f"{low_ms:.2f}", f"{high_ms:.2f}", fit])
    text = "Step time, median of single steps, of the standard MMoE at batch 1024 where one size grows. The exponent is\n" \
           "fitted over the upper half of the range, on logarithms. Table rows are of each of 20 tables of width 16, with\n" \
           "lazy Adam (`train.embedding_optimizer`); one table has 20 ids a row, so that a batch touches 8,700 of 10,000 rows and\n" \
           "20,400 of 10 million. Sizes of tables are measured side by side, a step of each in turn, after each batch\n" \
           "has come once; others one by one. A batch ends at the largest that the device binds.\n"
    header = ["device", "grows", "range", "ms at its start", "ms at its end", "exponent"]
    return "\n".join(["\n## Growth\n", about("growth", "bash benches/growth.sh"), text, "![growth](../docs/growth.svg)\n",
                      table(header, lines) + "\n"])


def fusion():
    rows = read("fusion.csv")
    if not rows:
        return ""
    lines, totals = [], {}
    for device, kernel in dict.fromkeys((r["device"], r["kernel"]) for r in rows):
        mine = [r for r in rows if (r["device"], r["kernel"]) == (device, kernel)]

        def best(is_fused):
            return min((float(r["ms"]), r["variant"]) for r in mine if is_fused != r["variant"].startswith("phases"))

        fused, unfused = best(True), best(False)
        lines.append([device, kernel, fused[1], f"{fused[0]:.1f}", unfused[1], f"{unfused[0]:.1f}", f"{unfused[0] / fused[0]:.2f}"])
        total = totals.setdefault(device, [0, 0])
        totals[device] = [total[0] + fused[0], total[1] + unfused[0]]
    for device, (fused, unfused) in totals.items():
        lines.append([device, "all three", "", f"{fused:.1f}", "", f"{unfused:.1f}", f"{unfused / fused:.2f}"])
    text = "The kernels of `configs/kuairand_mmoe.toml`'s level and towers, the fastest fused variant beside the fastest unfused\n" \
           "one (`phases`: a dispatch per layer of all MLPs, for softmax, for mixing). The least of a few runs, waited for.\n"
    header = ["device", "kernel", "fused", "ms", "unfused", "ms", "unfused / fused"]
    return "\n".join(["\n## Fused against unfused\n", about("fusion", "bash benches/fusion.sh"), text, table(header, lines) + "\n"])


def host():
    rows = read("host.csv")
    if not rows:
        return ""
    lines = []
    for key in dict.fromkeys((r["config"], r["batch"], r["data"], r["polygate"]) for r in rows):
        mine = [r for r in rows if (r["config"], r["batch"], r["data"], r["polygate"]) == key]
        of = {name: [float(r[name]) for r in mine] for name in
              ["samples_per_s", "waited", "upload_us", "record_us", "allocations_per_step"]}
        middle = {name: statistics.median(values) for name, values in of.items()}
        rates = of["samples_per_s"]
        lines.append([f"{key[0]}, {key[2]}", key[1], key[3], thousands(middle["samples_per_s"]),
                      f"{thousands(min(rates))} to {thousands(max(rates))}", f"{middle['waited']:.0%}",
                      f"{middle['upload_us']:.0f}", f"{middle['record_us']:.0f}", f"{middle['allocations_per_step']:.0f}"])
    first = rows[0]
    loads = [float(r["load"]) for r in rows]
    about = f"`python3 benches/host.py`, {first['date']}, on {first['device']}; {first['cpu']}.\n"
    if max(loads) > int(first["cpu"].split(" cores")[0].split()[-1]):
        about += f"\n**The machine was not idle**: its load average was {min(loads):.0f} to {max(loads):.0f}. The wait for batches holds " \
                 "the time\nin which the threads that form them got no core, and rates scatter by it; \"upload\" and \"record\" do less.\n"
    text = "**Host only: nothing executes.** The device is a stand-in whose driver compiles kernels and takes submissions, so that\n" \
           "what is left of a step is the host. Revisions ran in turn, round after round. \"held\": the device holds the data set and\n" \
           "a batch names its rows; \"sent\": its values travel. \"upload\": laying out a batch and recording its upload; \"record\":\n" \
           "recording and submitting the kernels. Allocations are of all threads, reports every 20 steps among them.\n"
    header = ["config, data", "batch", "polygate", "samples/s", "rounds", "waits for batches", "upload (us)", "record (us)",
              "allocations per step"]
    return "\n".join(["\n## The host's side of the training loop\n", about, text, table(header, lines) + "\n"])


def data():
    rows = read("csv.csv")
    if not rows:
        return ""
    lines = []
    for name, system in dict.fromkeys((r["data"], r["system"]) for r in rows):
        mine = [r for r in rows if (r["data"], r["system"]) == (name, system)]
        encode = statistics.median(float(r["encode_s"]) for r in mine)
        first = [float(r["to_first_step_s"]) for r in mine if r["to_first_step_s"]]
        lines.append([name, system, thousands(int(mine[0]["rows"])), f"{encode:.2f}", thousands(int(mine[0]["rows"]) / encode),
                      f"{statistics.median(first):.2f}" if first else ""])
    text = "From uncompressed CSV files: reading, joining, filtering, splitting and encoding of `configs/kuairand_mmoe.toml` and\n" \
           "`configs/census_mmoe.toml`; rows are those that are left. pandas does the same (`benches/csv_pandas.py`). Parquet: the\n" \
           "same tables, snappy, in row groups of 100,000 rows.\n"
    header = ["data", "system", "rows", "read and encode (s)", "rows/s", "to the first step done (s)"]
    return "\n".join(["\n## From CSV to the first step\n", about("csv", "bash benches/csv.sh"), text, table(header, lines) + "\n"])


def add_csv(log):
    columns = ["data", "system", "device", "rows", "encode_s", "open_s", "first_step_s", "to_first_step_s"]
    with (RESULTS / "csv.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for line in pathlib.Path(log).read_text().splitlines():
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in json.loads(line).items()})


def note_machine(name):
    (RESULTS / f"{name}_machine.json").write_text(json.dumps(machine(sys.executable), indent=1) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--add-csv", metavar="LOG")
    p.add_argument("--note", choices=["growth", "fusion", "csv"], help="only note the machine")
    a = p.parse_args()
    if a.note:
        note_machine(a.note)
        return
    if a.add_csv:
        add_csv(a.add_csv)
    (HERE / "RESULTS.md").write_text(HEAD + peers() + growth() + fusion() + data() + host())


if __name__ == "__main__":
    main()

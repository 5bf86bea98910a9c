"""Runs polygate and its peers on the same steps, in turn, and adds the figures to benches/results/peers.csv.

Started by run.sh, which builds what it needs. A round runs every system of a case once, one process after another, so
that drift of the machine meets all of them; the results are medians over rounds.
"""

import argparse
import csv
import datetime
import glob
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from machine import machine  # noqa: E402

RESULTS = ROOT / "benches/results"
COLUMNS = ["case", "batch", "system", "round", "samples_per_s", "samples_per_s_queued", "step_ms_median", "form_ms_median",
           "parameters", "flops_per_step", "loss_first", "loss_last", "device", "date", "polygate", "cpu", "busy"]


class System:
    """A system, and the command that times its step at a batch size."""

    def __init__(self, name, command):
        self.name, self.command = name, command


def polygate(binary, device, label="polygate", **flags):
    words = [f"--{key.replace('_', '-')}={value}" for key, value in flags.items()]
    return System(label, [binary, "--device", device, *words])


def torch(label, **flags):
    words = [f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}") for key, value in flags.items()]
    return System(label, [sys.executable, str(HERE / "torch_step.py"), *words])


def burn(name, backend):
    return System(f"burn {backend}", [str(ROOT / "target/peers" / name), "--backend", backend])


def torch_pair(arch):
    return [torch("torch eager", arch=arch), torch("torch compiled", arch=arch, compile=True)]


def cases(binary):
    """Name of the case: its batch sizes and systems. The first system is the one that the others are held against."""
    def cpu(**flags):
        return polygate(binary, "cpu", **flags)

    def gpu(**flags):
        return polygate(binary, "llvmpipe", **flags)

    tables = dict(input="tables")
    eager, compiled = dict(tables), dict(tables, compile=True)
    # Both updates of both sides: PyTorch's best is what counts.
    cpu_tables = [
        cpu(label="polygate touched", embedding_optimizer="lazy-adam", **tables),
        torch("torch eager, SparseAdam", optimizer="sparse", **eager),
        torch("torch compiled, SparseAdam", optimizer="sparse", **compiled),
        cpu(label="polygate all rows", embedding_optimizer="adam", **tables),
        torch("torch eager, Adam", **eager),
        torch("torch compiled, Adam", **compiled),
        torch("torch eager, fused Adam", optimizer="fused-adam", **eager),
    ]
    gpu_tables = [
        gpu(label="polygate touched", embedding_optimizer="lazy-adam", **tables),
        gpu(label="polygate all rows", embedding_optimizer="adam", **tables),
    ]
    both = [1024, 4096]
    return {
        "llvmpipe mmoe dense": (both, [gpu(), burn("burn_wgpu", "wgpu")]),
        "llvmpipe mmoe tables": (both, gpu_tables),
        "llvmpipe shared-bottom dense": (both, [gpu(family="shared-bottom")]),
        "llvmpipe ple dense": (both, [gpu(family="ple")]),
        "cpu mmoe dense": (both, [cpu(), *torch_pair("mmoe"), burn("burn_flex", "flex")]),
        "cpu mmoe tables": (both, cpu_tables),
        "cpu shared-bottom dense": (both, [cpu(family="shared-bottom"), *torch_pair("shared-bottom")]),
        "cpu ple dense": (both, [cpu(family="ple"), *torch_pair("ple")]),
    }


def build_polygate():
    """The path of the bench's program."""
    command = ["cargo", "bench", "--bench", "train_step", "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "train_step" and message.get("executable"):
            return message["executable"]
    raise SystemExit("cargo names no program of the bench train_step")


def environment():
    """The same one driver for polygate and burn, which takes the first adapter that it finds."""
    found = [f for f in os.environ.get("VK_DRIVER_FILES", "").split(":") if "lvp" in f]
    found = found or sorted(glob.glob("/usr/share/vulkan/icd.d/lvp_icd*.json"))
    env = dict(os.environ)
    if found:
        env["VK_DRIVER_FILES"] = env["VK_ICD_FILENAMES"] = found[0]
    env.setdefault("XDG_RUNTIME_DIR", "/tmp")
    return env


def run(system, batch, steps, seconds, env):
    command = [*system.command, "--batch", str(batch), "--steps", str(steps), "--max-seconds", str(seconds)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"{system.name} ended with {done.returncode}: {' '.join(command)}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def check_same_model(case, batch, figures):
    """Sizes and the first loss must agree, or the figures compare nothing."""
    first = figures[0]
    for other in figures[1:]:
        for key, bound in [("parameters", 0), ("flops_per_step", 0), ("loss_first", 2e-5)]:
            if not abs(float(other[key]) - float(first[key])) <= bound:
                raise SystemExit(f"{case}, batch {batch}: {key} is {first[key]} at {first['system']} "
                                 f"but {other[key]} at {other['system']}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="one round of few steps, into target/peers")
    p.add_argument("--case", action="append", default=[], help="only cases whose name holds this; may be repeated")
    p.add_argument("--rounds", type=int, default=None)
    a = p.parse_args()
    rounds = a.rounds or (1 if a.quick else 3)
    steps, seconds = (3, 10) if a.quick else (20, 30)
    binary, env = build_polygate(), environment()
    # What a short check prints is no result.
    folder = ROOT / "target/peers" if a.quick else RESULTS
    for case, (batches, systems) in cases(binary).items():
        if a.case and not any(part in case for part in a.case):
            continue
        for batch in batches[:1] if a.quick else batches:
            figures, about = [], machine(sys.executable)
            for number in range(1, rounds + 1):
                for system in systems:
                    got = run(system, batch, steps, seconds, env)
                    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
                    got |= {"case": case, "round": number, "system": system.name, "date": now}
                    got |= {key: about[key] for key in ("polygate", "cpu", "busy")}
                    got["device"] = got.get("device") or got.get("adapter")
                    figures.append(got)
                    print(f"{case:30} {batch:5} round {number} {system.name:28} {got['samples_per_s']:9.0f} samples/s, "
                          f"queued {got['samples_per_s_queued']:9.0f}, first loss {got['loss_first']:.6f}", flush=True)
            check_same_model(case, batch, figures)
            save(folder / "peers.csv", case, batch, figures)
            (folder / "peers_machine.json").write_text(json.dumps(about, indent=1) + "\n")


def save(path, case, batch, figures):
    """Replaces a case's rows."""
    rows = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [r for r in csv.DictReader(file) if (r["case"], r["batch"]) != (case, str(batch))]
    for figure in figures:
        short = {k: f"{v:.2f}" if isinstance(v, float) and "loss" not in k else v for k, v in figure.items()}
        short |= {k: f"{figure[k]:.6f}" for k in ("loss_first", "loss_last")}
        rows.append({k: short.get(k, "") for k in COLUMNS})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

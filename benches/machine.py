"""What figures are taken on: hardware and versions, by the tools' own words. To be noted before a measurement starts,
since the load of the machine is part of it."""

import datetime
import os
import pathlib
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip()
    except OSError:
        return ""


def first(path, pattern):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(), re.M)
    except OSError:
        return "?"
    return found.group(1).strip() if found else "?"


def busy(seconds=3):
    """The share of the cores that is at work, before anything here is."""
    def times():
        numbers = list(map(int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
        return sum(numbers), numbers[3] + numbers[4]

    try:
        all_before, idle_before = times()
        time.sleep(seconds)
        all_after, idle_after = times()
    except (OSError, ValueError):
        return None
    return round(1 - (idle_after - idle_before) / max(1, all_after - all_before), 3)


def machine(python):
    flags = set(first("/proc/cpuinfo", r"^flags\s*:(.*)$").split())
    simd = [f for f in ("avx", "avx2", "fma", "avx512f") if f in flags]
    name = first("/proc/cpuinfo", r"^model name\s*:(.*)$")
    memory = first("/proc/meminfo", r"^MemTotal:\s*(\d+) kB")
    libraries = "import torch, numpy, pandas; print(torch.__version__, numpy.__version__, pandas.__version__)"
    torch, numpy, pandas = (output(python, "-c", libraries).split() + ["?"] * 3)[:3]
    changed = output("git", "status", "--porcelain", "--", "src", "shaders", "Cargo.toml", "Cargo.lock")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "cpu": f"{name}, {os.cpu_count()} cores, {' '.join(simd)}",
        "cores": os.cpu_count(),
        "memory": f"{int(memory) / 2**20:.0f} GiB" if memory.isdigit() else "?",
        "system": output("uname", "-sr"),
        "busy": busy(),
        "rustc": output("rustc", "--version"),
        "polygate": output("git", "rev-parse", "--short=12", "HEAD") + (" with changes" if changed else ""),
        "torch": torch,
        "numpy": numpy,
        "pandas": pandas,
        "burn": first(ROOT / "benches/peers/burn/Cargo.lock", r'name = "burn"\nversion = "([^"]+)"'),
    }

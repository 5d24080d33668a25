"""Measure how long commands take when there is nothing to do, compared with bare Python and DVC.

    python -m bench.startup --repository . --rounds 15

Needs a repository in which everything is up to date (`dvc repro` has run there). Each round runs
every command once, so that other load on the machine affects all of them equally. Reports the
wall-clock time, and the CPU time of a command and its children. Writes bench/results/startup.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.errors import PipelineError
from pipeline.machine import available_cores, processor
from pipeline.run import console, versions, write_json

RESULTS = Path(__file__).parent / "results" / "startup.json"
DVC = (sys.executable, "-m", "dvc")
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "python -m pipeline --help": (sys.executable, "-m", "pipeline", "--help"),
    "dvc --version": (*DVC, "--version"),
    "dvc status": (*DVC, "status", "--quiet"),
    "dvc repro, nothing to do": (*DVC, "repro"),
}
BASE = "dvc --version"


class StartupError(PipelineError):
    """The repository is not up to date, so the commands would do work."""


def main() -> None:
    """Measure, print a table and write bench/results/startup.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    _require_idle(arguments.repository)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    load = os.getloadavg()[0]
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            seconds[name].append(_time(command, arguments.repository))
    rows = {}
    for name, found in seconds.items():
        clock, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        least = min(column[0] for column in found)
        rows[name] = {"median_s": clock, "least_s": least, "cpu_median_s": cpu}
    for row in rows.values():
        row["ratio_cpu"] = row["cpu_median_s"] / rows[BASE]["cpu_median_s"]
    rounded = {
        name: {key: round(value, 3) for key, value in row.items()} for name, row in rows.items()
    }
    result = {
        "machine": _machine(), "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "rounds": arguments.rounds, "commands": rounded,
    }  # fmt: skip
    write_json(RESULTS, result)
    _show(rounded)


def _time(command: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Wall-clock and CPU time of a command, s."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    clock = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _require_idle(folder: Path) -> None:
    done = subprocess.run([*DVC, "status"], cwd=folder, capture_output=True, text=True, check=False)
    if "up to date" not in done.stdout:
        raise StartupError(f"{folder}: not everything is up to date; run `dvc repro` there first")


def _machine() -> dict[str, object]:
    return {
        "processor": processor(),
        "cores": available_cores(),
        "versions": versions("dvc", "typer"),
    }


def _show(rows: dict[str, dict[str, float]]) -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("", "median s", "least s", "CPU s", f"× {BASE}"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in rows.items():
        table.add_row(
            name, f"{row['median_s']:.2f}", f"{row['least_s']:.2f}", f"{row['cpu_median_s']:.2f}",
            f"{row['ratio_cpu']:.2f}",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()

"""Measure where the time of `make repro` goes: the installation and each stage.

    python -m bench.chain                        # everything, in a clone of the last commit
    python -m bench.chain --skip-installation    # the stages alone

Each stage is run by DVC with an empty cache, as `make repro` does on a fresh machine. The share of
imports is what the stage's module alone takes to import. CPU time includes all child processes;
where other programs use the machine, it says more than wall-clock time. Writes
bench/results/chain.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.machine import available_cores, processor
from pipeline.run import console, versions, write_json

RESULTS = Path(__file__).parent / "results" / "chain.json"
REPOSITORY = Path(__file__).parents[1]
STAGES = ("collect", "ingest", "dataset", "train", "evaluate", "export")
Times = dict[str, float]


def timed(command: list[str], folder: Path, **settings: str) -> Times:
    """Run a command; wall-clock time, and CPU time with all children, s."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        env=os.environ | settings,
    )  # fmt: skip
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 1), "cpu_s": round(cpu, 1)}


def installations(clone: Path) -> dict[str, Times]:
    """Install the chain's environment with pip, and with uv where it is found."""
    ways = {"pip": ""}
    uv = shutil.which("uv")
    if uv is not None:
        ways["uv"] = uv
    found = {}
    for name, way in ways.items():
        environment = clone.parent / f"environment_{name}"
        command = ["tools/environment.sh", sys.executable, str(environment)]
        found[name] = timed(command, clone, UV=way)
        shutil.rmtree(environment)
    return found


def stages(clone: Path) -> dict[str, Times]:
    """Run every stage, and import its module alone."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = {}
    for stage in STAGES:
        importing = [sys.executable, "-c", f"import pipeline.stages.{stage}"]
        imports = timed(importing, clone)
        run = [sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "--force", stage]
        found[stage] = timed(run, clone, PATH=path) | {
            f"imports_{key}": value for key, value in imports.items()
        }
    return found


def summary(installation: dict[str, Times], chain: dict[str, Times]) -> dict[str, float]:
    """Wall-clock time of the chain, alone and after each installation, s."""
    alone = sum(times["wall_s"] for times in chain.values())
    whole = {f"with_{name}_s": times["wall_s"] + alone for name, times in installation.items()}
    return {name: round(seconds, 1) for name, seconds in {"chain_s": alone, **whole}.items()}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(box=SIMPLE_HEAD)
    for heading in ("", "wall s", "CPU s", "imports, CPU s", "share"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, times in result["installation"].items():
        table.add_row(f"installation, {name}", f"{times['wall_s']:.1f}", f"{times['cpu_s']:.1f}")
    for name, times in result["stages"].items():
        imports = times["imports_cpu_s"]
        table.add_row(
            name, f"{times['wall_s']:.1f}", f"{times['cpu_s']:.1f}", f"{imports:.1f}",
            f"{imports / times['cpu_s']:.0%}",
        )  # fmt: skip
    for name, seconds in result["total"].items():
        table.add_row(name.removesuffix("_s").replace("_", " "), f"{seconds:.1f}")
    console.print(table)


def main() -> None:
    """Measure, print a table and write bench/results/chain.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip-installation", action="store_true")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "repository"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        installed = {} if arguments.skip_installation else installations(clone)
        chain = stages(clone)
    result = {
        "machine": {"processor": processor(), "cores": available_cores(),
                    "versions": versions("torch", "dvc", "onnxruntime")},
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "installation": installed, "stages": chain, "total": summary(installed, chain),
    }  # fmt: skip
    show(result)
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()

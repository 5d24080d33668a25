"""Measure everything that needs a GPU, in one bounded run that needs no network.

    python -m bench.gpu                      # make bench-gpu
    python -m bench.gpu --wheels FOLDER      # with packages that this machine lacks
    python -m bench.gpu --dry-run            # on a CPU, tiny: the command itself is tried

Every part (bench/gpu/steps.py, bench/gpu/runs.py) runs in a process of its own with a time limit.
One that fails or cannot run says why in one line, and costs the others nothing. Writes
bench/results/gpu.json after every part. This file needs only the standard library, because it
installs what is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "gpu.json"
PARTS: dict[str, float] = {
    "machine": 20, "train": 170, "parity": 45, "batch": 25, "latency": 100, "strict": 100,
    "resume": 35, "tests": 45,
}  # fmt: skip
"""Parts in their order, and the most that each may take of nine minutes, s."""
MINUTES = 9.0


def install(wheels: Path, target: Path) -> None:
    """Install wheels into a folder, and let this process and its children import from it.

    Args:
        wheels: folder of wheels; nothing else is looked for.
        target: folder to install into.

    Raises:
        SystemExit: pip cannot install them.
    """
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        sys.exit(f"error: {wheels}: no wheels; fill it with `python -m bench.wheels {wheels}`")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
        "--no-compile", "--disable-pip-version-check", "--target", str(target), *found,
    ]  # fmt: skip
    # Settings of pip may name indexes and constraints, which have no say here.
    done = subprocess.run(command, check=False, env={**os.environ, "PIP_CONFIG_FILE": os.devnull})
    if done.returncode:
        sys.exit(f"error: pip could not install the wheels in {wheels}; its reason is above")
    before = list(sys.path)
    site.addsitedir(str(target))  # reads .pth files too: pinocchio has one
    added = [path for path in sys.path if path not in before]
    sys.path[:] = [*before[:1], *added, *before[1:]]
    places = [*added, *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)


def run_part(name: str, options: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Run a part in a child process.

    Args:
        name: of the part.
        options: of the command line.
        limit_s: time after which the child and its own children are killed, s.

    Returns:
        `status` (done, failed: reason, or not available: reason), `seconds`, and the results.
    """
    parts = importlib.import_module("bench.gpu.part")
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        # Forked, so that libraries are imported once; none has started CUDA yet.
        child = multiprocessing.get_context("fork").Process(
            target=parts.run, args=(name, options, answer)
        )
        started = time.perf_counter()
        child.start()
        child.join(limit_s)
        late = child.is_alive()
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # also what it started and left behind
        child.join()
        seconds = round(time.perf_counter() - started, 1)
        found = json.loads(answer.read_text()) if answer.is_file() else {}
    if late:
        found["status"] = f"failed: not done after {limit_s:.0f} s; what it had measured is kept"
    elif "status" not in found:
        code = child.exitcode or 0
        ended = signal.Signals(-code).name if code < 0 else f"status {code}"
        found["status"] = f"failed: its process ended with {ended}"
    return {"status": found.pop("status"), "seconds": seconds, **found}


def show(name: str, found: dict[str, Any]) -> None:
    """Print a part's status, and its numbers where there are any."""
    print(f"{name}: {found['status']} ({found['seconds']} s)", flush=True)
    for key, value in found.items():
        if key not in ("status", "seconds"):
            print(f"  {key}: {json.dumps(value)}", flush=True)


def main() -> None:
    """Run the parts, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the most that all may take")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first")
    parser.add_argument(
        "--data", type=Path, default=Path("artifacts/dataset/pen_grasp.zarr"),
        help="training zarr of the part strict",
    )  # fmt: skip
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the CPU")
    options = parser.parse_args()
    unknown = set(options.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    started = time.perf_counter()
    results: dict[str, Any] = {"dry_run": options.dry_run, "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        if options.wheels is not None:
            install(options.wheels, Path(folder))
        for name in options.parts.split(","):
            left = 60 * options.minutes - (time.perf_counter() - started)
            if left < 1:
                found: dict[str, Any] = {"status": "failed: no time was left", "seconds": 0.0}
            else:
                limit_s = min(PARTS[name] * options.minutes / MINUTES, left)
                found = run_part(name, options, limit_s)
            results["parts"][name] = found
            results["machine"] = results["parts"].get("machine", {}).get("name")
            results["seconds"] = round(time.perf_counter() - started, 1)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
            show(name, found)
    print(f"Wrote {options.out} after {results['seconds']} s")


if __name__ == "__main__":
    main()

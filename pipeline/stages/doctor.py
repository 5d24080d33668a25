"""Command doctor: checks each part of this machine and says how to fix problems.

It changes nothing. An optional part that is absent (a GPU, Docker, a remote) is not a problem; its
line says what does not work without it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.doctor import docker, remotes
from pipeline.doctor.check import Line
from pipeline.errors import PipelineError
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.run import console
from pipeline.runtime.backends.driver_process import Gpu, find_gpus
from pipeline.runtime.backends.engine_store import library_version

COLORS = {"ok": "green", "absent": "yellow", "problem": "bold red"}
MIN_DISK_GB = 10.0
"""The environment takes 2.5 GB on a CPU and about 6 GB with CUDA, plus data and cache."""
MIN_MEMORY_GB = 4.0
"""Ample for training the default network on a thousand episodes."""
PORTS = {6007: "TensorBoard", 8765: "serve"}


class DoctorError(PipelineError):
    """A part of the machine has a problem; the table names it."""


def run(params: Params) -> None:
    """Check every part and print a table.

    Args:
        params: give the paths of data and recordings.

    Raises:
        DoctorError: a part has a problem.
    """
    table = Table("part", "", "found", "what to do", box=SIMPLE_HEAD)
    problems = []
    for line in examine(params):
        table.add_row(
            line.part, f"[{COLORS[line.status]}]{line.status}[/]", line.found, line.remedy
        )
        if line.status == "problem":
            problems.append(line.part)
    console.print(table)
    if problems:
        raise DoctorError(f"{len(problems)} parts have a problem: {', '.join(problems)}")


def examine(params: Params) -> Iterator[Line]:
    """Check every part.

    Args:
        params: give the paths of data and recordings.

    Yields:
        One line per part.
    """
    gpus, reason = find_gpus()
    yield python()
    yield packages(Path("constraints.txt"))
    yield driver(gpus, reason)
    yield from torch_lines(gpus)
    for backend in ("tensorrt-rtx", "tensorrt"):
        yield tensorrt(backend, bool(gpus))
    yield from docker.examine(bool(gpus), Path())
    yield dataset(params)
    yield recordings(params)
    yield ownership(Path())
    yield remotes.examine(Path())
    yield disk(Path())
    yield memory()
    for port, use in PORTS.items():
        yield free_port(port, use)


def python() -> Line:
    """Check the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Line("python", "ok", found)
    return Line("python", "problem", found, "rm -r .venv; make setup PYTHON=python3.12")


def packages(constraints: Path) -> Line:
    """Compare installed packages with the pinned versions.

    Args:
        constraints: path of constraints.txt.
    """
    if not constraints.is_file():
        return Line("packages", "absent", f"no {constraints} here", "cd to the repository")
    lines = [Requirement(line) for line in constraints.read_text().splitlines()]
    here = [line for line in lines if line.marker is None or line.marker.evaluate()]
    pins = {line.name: str(line.specifier).removeprefix("==") for line in here}
    wrong = []
    for name, pinned in pins.items():
        try:
            # A local tag such as +cpu describes the build, not the version.
            found = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue  # not needed here, such as CUDA libraries; else its import fails
        if found != pinned:
            wrong.append(f"{name} {found} (pinned {pinned})")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        # VENV is set in containers, whose environment only a new image changes.
        remedy = "docker compose build, on the host" if "VENV" in os.environ else "make setup"
        return Line("packages", "problem", ", ".join(wrong[:3]) + more, remedy)
    return Line("packages", "ok", f"{len(pins)} pinned versions match")


def driver(gpus: list[Gpu], reason: str) -> Line:
    """Check the NVIDIA driver.

    Args:
        gpus: GPUs that it reports.
        reason: why it reports none.
    """
    if gpus:
        names = ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in gpus)
        return Line("GPU", "ok", f"{names}, driver for CUDA {gpus[0].driver}")
    if "does not start" in reason:
        return Line("GPU", "problem", reason, "nvidia-smi; reboot, or reinstall the NVIDIA driver")
    return Line("GPU", "absent", reason, "nothing; without a GPU only TensorRT engines cannot run")


def torch_lines(gpus: list[Gpu]) -> Iterator[Line]:
    """Check whether torch can use the GPU.

    Args:
        gpus: GPUs that the driver reports.
    """
    import torch

    built = torch.version.cuda
    found = f"{torch.__version__}, {f'CUDA {built}' if built else 'CPU build'}"
    if not gpus or torch.cuda.is_available():
        yield Line("torch", "ok", found)
    elif built is None:
        remedy = "pip install --force-reinstall torch==2.13.0 from an index with CUDA builds"
        yield Line("torch", "problem", f"{found}, but there is a GPU", remedy)
    else:
        remedy = f"update the NVIDIA driver to one that serves CUDA {built}"
        yield Line("torch", "problem", f"{found}, driver for {gpus[0].driver}", remedy)


def tensorrt(backend: str, has_gpu: bool) -> Line:
    """Check one TensorRT library.

    Args:
        backend: tensorrt or tensorrt-rtx.
        has_gpu: whether engines can run here.
    """
    found, reason = library_version(backend)
    if found is None:
        needed = backend == "tensorrt-rtx" and sys.platform == "linux"
        remedy = "make setup" if needed else "needed only for engines of full TensorRT"
        return Line(backend, "absent", reason[:120], remedy)
    runs = "builds and runs engines" if has_gpu else "builds engines, cannot run them without a GPU"
    return Line(backend, "ok", f"{found}, {runs}")


def dataset(params: Params) -> Line:
    """Check the training data set.

    Args:
        params: give its name and layout.
    """
    from pipeline.dataset.store import load_dataset

    path = Path("artifacts/dataset") / f"{params.task.object}_grasp.zarr"
    if not path.exists():
        return Line("data set", "absent", f"no {path}", "make dataset (or make pull)")
    try:
        found = load_dataset(path, Layout.from_params(params), params.dataset)
    except PipelineError as error:
        return Line("data set", "problem", str(error), "make dataset")
    return Line("data set", "ok", f"{path}: {found.num_episodes} episodes")


def recordings(params: Params) -> Line:
    """Check the recordings that ingest would read.

    Args:
        params: with the section ingest.
    """
    sources = params.ingest.source
    paths = [Path(sources)] if isinstance(sources, str | Path) else [Path(path) for path in sources]
    own = Path("artifacts/collect")
    missing = [str(path) for path in paths if not path.exists() and own not in path.parents]
    if missing:
        remedy = "mount or copy them, or change ingest.source in params.yaml"
        return Line("recordings", "problem", f"no {', '.join(missing)}", remedy)
    if not all(path.exists() for path in paths):
        return Line("recordings", "absent", "none yet", "make collect")
    return Line("recordings", "ok", ", ".join(map(str, paths)))


def ownership(root: Path) -> Line:
    """Check write permissions, because containers that run as root leave folders of root.

    Args:
        root: the repository.
    """
    places = [root, root / "artifacts", root / ".dvc", root / ".state"]
    places += [path for path in (root / "artifacts").glob("*") if path.is_dir()]
    locked = [str(path) for path in places if path.exists() and not os.access(path, os.W_OK)]
    if locked:
        remedy = f"sudo chown -R $(id -u):$(id -g) {' '.join(locked)}"
        return Line("permissions", "problem", f"cannot write to {', '.join(locked)}", remedy)
    return Line("permissions", "ok", "all folders can be written")


def disk(root: Path) -> Line:
    """Check the free disk space.

    Args:
        root: the repository.
    """
    free = shutil.disk_usage(root).free / 1e9
    if free < MIN_DISK_GB:
        return Line("disk", "problem", f"{free:.1f} GB free", "dvc gc -w deletes old results")
    return Line("disk", "ok", f"{free:.0f} GB free")


def memory() -> Line:
    """Check the memory of the machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if total < MIN_MEMORY_GB:
        return Line("memory", "problem", f"{total:.1f} GB", "set train.data_limit_gb: 1")
    return Line("memory", "ok", f"{total:.0f} GB")


def free_port(port: int, use: str) -> Line:
    """Check whether a port is free.

    Args:
        port: port on loopback.
        use: the program that listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = f"perhaps {use} is running; find the process with: ss -ltnp 'sport = :{port}'"
            return Line(f"port {port}", "absent", f"taken ({error.strerror})", remedy)
    return Line(f"port {port}", "ok", f"free for {use}")

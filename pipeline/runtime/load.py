"""Implements `pipeline.load_policy`: loads a policy on the best available backend and logs why.

Only the backend that is used is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.runtime.backends.backend import Backend
from pipeline.runtime.deployment import Deployment, DeploymentError
from pipeline.runtime.session import RobotPolicy
from pipeline.runtime.warm_up import warm_up

logger = logging.getLogger(__name__)

BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime", "torch")
"""The backends that `auto` tries, in this order."""
ASKED = ("onnxruntime-cuda", "torch-graphs")
"""Backends that are taken only where they are asked for: a small network may be faster on a CPU."""


@dataclass(frozen=True)
class _Source:
    """The files found at a path."""

    path: Path
    onnx: Path | None
    checkpoint: Path | None
    cache: Path | None
    """Folder for engines that are built here; None for the user's cache folder."""
    fetched: bool
    """Whether the policy comes from another repository; its engines are then not loaded."""
    threads: int


def load_policy(
    path: str | Path,
    backend: str = "auto",
    *,
    seed: int = 0,
    control_hz: float | None = None,
    deployment: Deployment | None = None,
    threads: int = 1,
    cache: str | Path | None = None,
    prepare: bool = True,
) -> RobotPolicy:
    """Load a policy for a robot.

    Args:
        path: folder that the stage export wrote, policy.onnx, or a checkpoint (.pt); or a released
            policy as REPOSITORY@VERSION, where REPOSITORY is a git address or a folder. DVC fetches
            a released policy once.
        backend: auto, tensorrt, tensorrt-rtx, onnxruntime or torch; or onnxruntime-cuda or
            torch-graphs (a checkpoint as CUDA graphs), which auto does not try.
        seed: seed of the noise that chunks start from.
        control_hz: calls of `act` per second; None for the policy's own rate.
        deployment: execution settings and limits; None for those in policy.onnx. A checkpoint has
            none.
        threads: CPU threads of ONNX Runtime.
        cache: folder for fetched policies and for engines that are built here; None for a folder
            below `~/.cache`. Engines of a fetched policy are not loaded but built here.
        prepare: whether to compute chunks once, so that the first `act` takes no longer than the
            others.

    Raises:
        DeploymentError: no backend can run the policy; the message gives the reason for each.
    """
    from pipeline.runtime.released import fetch, is_fetched

    known = ("auto", *BACKENDS, *ASKED)
    if backend not in known:
        raise DeploymentError(f"backend {backend!r} is unknown; known: {', '.join(known)}")
    kept = Path(cache) if cache else None
    found = fetch(str(path), kept)
    source = _source(found, kept, is_fetched(found, kept), threads)
    wanted = BACKENDS if backend == "auto" else (backend,)
    loaders: dict[str, Callable[[_Source], Backend]] = {
        "tensorrt": lambda source: _engine(source, "tensorrt"),
        "tensorrt-rtx": lambda source: _engine(source, "tensorrt-rtx"),
        "onnxruntime": lambda source: _onnxruntime(source, cuda=False),
        "onnxruntime-cuda": lambda source: _onnxruntime(source, cuda=True),
        "torch": lambda source: _torch(source, graphs=False),
        "torch-graphs": lambda source: _torch(source, graphs=True),
    }
    reasons = []
    for name in wanted:
        try:
            loaded = loaders[name](source)
            chosen = deployment or loaded.deployment
            if prepare and chosen is not None:
                warm_up(loaded, _sizes(name, chosen))
        except (PipelineError, ImportError, OSError) as error:
            reasons.append(f"{name}: {error}")
            continue
        if chosen is None:
            raise DeploymentError(
                f"{path}: holds no execution settings and no joint limits; export the policy with "
                "`python -m pipeline export` and load the exported folder, or pass "
                "deployment=Deployment(…)"
            )
        why = f" ({'; '.join(reasons)})" if reasons else ""
        logger.info("%s runs on %s%s", path, name, why)
        if loaded.layout.is_generic:
            logger.info("%s: no arm is known, so nothing is limited and no chunk is checked", path)
        elif chosen.execution.guard == "off":
            logger.info("%s: chunks are not checked, because execution.guard is off", path)
        elif loaded.config.get("collision") is None:
            logger.warning(
                "%s: chunks are not checked, although execution.guard is %s: the policy carries no "
                "collision shapes; train again to add them",
                path, chosen.execution.guard,
            )  # fmt: skip
        return RobotPolicy(loaded, name, chosen, seed, control_hz)
    raise DeploymentError(f"{path}: no backend runs it here. " + "; ".join(reasons))


def _sizes(name: str, deployment: Deployment) -> set[int]:
    """Observations of the calls that a session makes: its own, and the guard's other chunks."""
    execution = deployment.execution
    # Without shapes compiled or captured for them, other sizes cost nothing the first time.
    others = name not in ("onnxruntime", "torch") and execution.guard == "repair"
    return {1, execution.guard_samples or 1} if others else {1}


def _source(path: Path, cache: Path | None, fetched: bool, threads: int) -> _Source:
    if path.is_dir():
        onnx = path / "policy.onnx"
        if not onnx.is_file():
            raise DeploymentError(
                f"{path}: the folder has no policy.onnx; expected a folder that the stage export "
                "wrote"
            )
        return _Source(path, onnx, None, cache, fetched, threads)
    if not path.is_file():
        raise DeploymentError(
            f"{path}: no such file or folder; expected an export folder, policy.onnx, a .pt file, "
            "or REPOSITORY@VERSION, where REPOSITORY is a git address or an existing folder"
        )
    if path.suffix == ".engine":
        raise DeploymentError(
            f"{path}: an engine file does not tell whether it fits this machine; load the export "
            "folder instead"
        )
    graph = path if path.suffix == ".onnx" else None
    return _Source(path, graph, None if graph else path, cache, fetched, threads)


def _graph(source: _Source) -> Path:
    if source.onnx is None:
        raise DeploymentError("needs policy.onnx, not a checkpoint")
    return source.onnx


def _onnxruntime(source: _Source, *, cuda: bool) -> Backend:
    from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

    return OnnxRuntimePolicy(_graph(source), source.threads, cuda=cuda)


def _torch(source: _Source, *, graphs: bool) -> Backend:
    if source.checkpoint is None:
        raise DeploymentError("needs a checkpoint (.pt)")
    if graphs:
        from pipeline.runtime.backends.torch_graphs import TorchGraphPolicy

        return TorchGraphPolicy(source.checkpoint)
    from pipeline.runtime.backends.torch_checkpoint import TorchPolicy

    return TorchPolicy(source.checkpoint)


def _engine(source: _Source, backend: str) -> Backend:
    from pipeline.runtime.backends.driver_process import find_gpus
    from pipeline.runtime.backends.engine_store import (
        default_cache,
        fitting_engine,
        library_version,
    )

    graph = _graph(source)
    gpus, reason = find_gpus()
    if not gpus:
        raise DeploymentError(reason)
    version, reason = library_version(backend)
    if version is None:
        raise DeploymentError(reason)
    cache = source.cache or default_cache()
    engine = fitting_engine(graph, backend, version, gpus[0], cache, shipped=not source.fetched)
    from pipeline.runtime.backends.tensorrt_engine import EnginePolicy

    return EnginePolicy(engine, graph, backend, cache)

"""`pipeline.load_policy`: the best backend that runs here, and a log line that says why.

Imports only the backend that is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.runtime.session import Backend, Deployment, DeploymentError, RobotPolicy

logger = logging.getLogger(__name__)

BACKENDS = ("tensorrt", "tensorrt-rtx", "onnxruntime", "torch")
"""In the order in which `auto` tries them."""


@dataclass(frozen=True)
class _Source:
    """What a path offers."""

    path: Path
    onnx: Path | None
    checkpoint: Path | None
    cache: Path
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
) -> RobotPolicy:
    """Load a policy for a robot.

    Args:
        path: folder of stage export, policy.onnx, or a checkpoint (.pt); or a released policy as
            REPOSITORY@VERSION, a git address or folder and a version, which DVC fetches once.
        backend: auto, tensorrt, tensorrt-rtx, onnxruntime or torch.
        seed: of the noise that chunks start from.
        control_hz: how often `act` will be called; None for the policy's own rate.
        deployment: execution and limits; None takes those in policy.onnx. A checkpoint has none.
        threads: CPU threads of ONNX Runtime.
        cache: where engines that must be built anew and fetched policies are kept; None for
            `~/.cache`.

    Raises:
        DeploymentError: nothing at that path can be run by that backend; the reason of each.
    """
    from pipeline.runtime.backends.engine_store import default_cache
    from pipeline.runtime.released import fetch

    if backend not in ("auto", *BACKENDS):
        raise DeploymentError(f"backend {backend!r} is unknown; known: auto, {', '.join(BACKENDS)}")
    engines = Path(cache) if cache else default_cache()
    releases = engines / "releases" if cache else engines.with_name("releases")
    source = _source(fetch(str(path), releases), engines, threads)
    wanted = BACKENDS if backend == "auto" else (backend,)
    loaders: dict[str, Callable[[_Source], Backend]] = {
        "tensorrt": lambda source: _engine(source, "tensorrt"),
        "tensorrt-rtx": lambda source: _engine(source, "tensorrt-rtx"),
        "onnxruntime": _onnxruntime,
        "torch": _torch,
    }
    reasons = []
    for name in wanted:
        try:
            loaded = loaders[name](source)
        except (PipelineError, ImportError) as error:
            reasons.append(f"{name}: {error}")
            continue
        found = deployment or loaded.deployment
        if found is None:
            raise DeploymentError(
                f"{path}: holds no execution settings and no joint limits; export the policy with "
                "`python -m pipeline export` and load its folder, or pass deployment=Deployment(…)"
            )
        why = f" ({'; '.join(reasons)})" if reasons else ""
        logger.info("%s runs on %s%s", path, name, why)
        if found.execution.guard == "off":
            logger.info("%s: its chunks are not checked: execution.guard is off", path)
        elif loaded.config.get("collision") is None:
            logger.warning(
                "%s: its chunks are not checked, although execution.guard is %s: it carries no "
                "collision shapes; train anew to add them",
                path, found.execution.guard,
            )  # fmt: skip
        return RobotPolicy(loaded, name, found, seed, control_hz)
    raise DeploymentError(f"{path}: no backend runs it here. " + "; ".join(reasons))


def _source(path: Path, cache: Path, threads: int) -> _Source:
    if path.is_dir():
        onnx = path / "policy.onnx"
        if not onnx.is_file():
            raise DeploymentError(f"{path}: no policy.onnx in it; expected a folder of export")
        return _Source(path, onnx, None, cache, threads)
    if not path.is_file():
        raise DeploymentError(
            f"{path}: no such file or folder; expected a folder of export, policy.onnx, a .pt, or "
            "REPOSITORY@VERSION, REPOSITORY a git address or a folder that exists"
        )
    if path.suffix == ".engine":
        raise DeploymentError(
            f"{path}: an engine alone does not say whether it fits here; load its folder of export"
        )
    graph = path if path.suffix == ".onnx" else None
    return _Source(path, graph, None if graph else path, cache, threads)


def _graph(source: _Source) -> Path:
    if source.onnx is None:
        raise DeploymentError("needs policy.onnx, not a checkpoint")
    return source.onnx


def _onnxruntime(source: _Source) -> Backend:
    from pipeline.runtime.backends.onnx_runtime import OnnxRuntimePolicy

    return OnnxRuntimePolicy(_graph(source), source.threads)


def _torch(source: _Source) -> Backend:
    if source.checkpoint is None:
        raise DeploymentError("needs a checkpoint (.pt)")
    from pipeline.runtime.backends.torch_checkpoint import TorchPolicy

    return TorchPolicy(source.checkpoint)


def _engine(source: _Source, backend: str) -> Backend:
    from pipeline.runtime.backends.driver_process import find_gpus
    from pipeline.runtime.backends.engine_store import fitting_engine, library_version

    graph = _graph(source)
    gpus, reason = find_gpus()
    if not gpus:
        raise DeploymentError(reason)
    version, reason = library_version(backend)
    if version is None:
        raise DeploymentError(reason)
    engine = fitting_engine(graph, backend, version, gpus[0], source.cache)
    from pipeline.runtime.backends.tensorrt_engine import EnginePolicy

    return EnginePolicy(engine, graph, backend)

"""Measures how long each backend takes to compute a chunk.

Every backend runs in a child process, and their calls alternate in blocks. Other load on the
machine then affects all backends equally, so the ratios hold even on a busy machine. Does not
import torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError

BLOCK = 50
"""Number of calls of one backend before the next backend's turn."""


class TimingError(PipelineError):
    """A child process ended before its timing was complete."""


@dataclass(frozen=True)
class Subject:
    """A backend to be timed."""

    backend: str
    """A name of `load.BACKENDS`."""
    path: Path
    """policy.onnx or a checkpoint."""
    deployment: str
    """JSON text from `Deployment.to_json`."""


@dataclass
class Timing:
    """Measurements of one backend; None for values that were not measured."""

    reason: str | None = None
    """Reason why the backend does not run here."""
    load_s: float | None = None
    """Time from a fresh interpreter to the first chunk, s."""
    first_ms: float | None = None
    """Time of the first call, ms; it may compile or load code."""
    peak_rss_mb: float | None = None
    ms: list[float] = field(default_factory=list)
    """Time of each call in order, ms."""

    def summary(self) -> dict[str, Any]:
        """Summarise as JSON: median, 99th percentile, maximum, load time, memory; or the reason."""
        if self.reason is not None:
            return {"status": "not here", "reason": self.reason}
        median, high = np.percentile(self.ms, (50, 99))
        return {
            "status": "run",
            "calls": len(self.ms),
            "median_ms": round(float(median), 4),
            "p99_ms": round(float(high), 4),
            "max_ms": round(max(self.ms), 4),
            "load_s": None if self.load_s is None else round(self.load_s, 3),
            "first_ms": None if self.first_ms is None else round(self.first_ms, 3),
            "peak_rss_mb": None if self.peak_rss_mb is None else round(self.peak_rss_mb, 1),
        }


def time_backends(
    subjects: Mapping[str, Subject], calls: int, threads: int, batch: int = 1
) -> dict[str, Timing]:
    """Time the same call on several backends.

    Args:
        subjects: backends to time, by name.
        calls: timed calls of each backend; a tenth as many warm it up first.
        threads: CPU threads per call.
        batch: observations per call.

    Raises:
        TimingError: a child ended without an answer.
    """
    timings: dict[str, Timing] = {}
    with ExitStack() as stack:
        children: dict[str, _Worker] = {}
        for name, subject in subjects.items():
            child = stack.enter_context(_child(subject, threads))
            answer = child.ask(None)
            timings[name] = Timing(
                answer.get("error"), answer.get("load_s"), answer.get("first_call_ms")
            )
            if "error" not in answer:
                child.ask({"calls": max(calls // 10, 1), "batch": batch})
                children[name] = child
        for size in blocks(calls):
            for name, child in children.items():
                answer = child.ask({"calls": size, "batch": batch})
                timings[name].ms += answer["ms"]
                timings[name].peak_rss_mb = answer["peak_rss_mb"]
    return timings


def time_batches(
    subject: Subject, calls: int, threads: int, batches: Sequence[int]
) -> dict[int, Timing]:
    """Time calls of one backend with several batch sizes, one after the other.

    Args:
        subject: the backend.
        calls: timed calls of each batch size; a tenth as many warm it up first.
        threads: CPU threads per call.
        batches: observations per call; 1 comes first.

    Returns:
        Measurements by batch size; of the first alone where the backend does not run here.

    Raises:
        TimingError: the child ended without an answer.
    """
    timings: dict[int, Timing] = {}
    with _child(subject, threads) as child:
        loaded = child.ask(None)
        for batch in batches:
            timings[batch] = timing = Timing(loaded.get("error"), loaded.get("load_s"))
            if timing.reason is not None:
                return timings
            warm = child.ask({"calls": max(calls // 10, 1), "batch": batch})["ms"]
            timing.first_ms = loaded["first_call_ms"] if batch == 1 else warm[0]
            answer = child.ask({"calls": calls, "batch": batch})
            timing.ms, timing.peak_rss_mb = answer["ms"], answer["peak_rss_mb"]
    return timings


def blocks(calls: int) -> Iterator[int]:
    """Split a number of calls into blocks and yield their sizes.

    Args:
        calls: total number of calls.
    """
    while calls > 0:
        yield min(calls, BLOCK)
        calls -= BLOCK


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[str]

    def ask(self, request: dict[str, Any] | None) -> dict[str, Any]:
        """Send a request, if any, and return the next answer."""
        source, sink = self.process.stdin, self.process.stdout
        line = ""
        if source is not None and sink is not None:
            try:
                if request is not None:
                    source.write(json.dumps(request) + "\n")
                    source.flush()
                line = sink.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            raise TimingError(
                f"a timed process ended with {self.process.wait(10)} and no answer; expected a "
                "line of JSON: run `python -m pipeline.benchmark.latency_worker` by hand to see why"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _child(subject: Subject, threads: int) -> Iterator[_Worker]:
    task = {
        "path": str(subject.path),
        "backend": subject.backend,
        "deployment": subject.deployment,
        "threads": threads,
    }
    root = str(Path(__file__).parents[2])
    places = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    number = str(threads)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(places),
        "OMP_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.benchmark.latency_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        child = _Worker(process)
        if process.stdin is not None:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
        try:
            yield child
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

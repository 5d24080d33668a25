from __future__ import annotations

import io
import json
from pathlib import Path

from pipeline.benchmark.latency_worker import peak_rss_mb, serve
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint
from pipeline.robot.model import RobotModel
from pipeline.runtime.deployment import Deployment


def test_it_answers_line_by_line(exported: tuple[Checkpoint, Path], params: Params) -> None:
    limits = RobotModel.from_params(params.robot).limits
    text = Deployment.from_params(params.execution, limits).to_json()
    task = {"path": str(exported[1]), "backend": "onnxruntime", "threads": 1, "deployment": text}
    lines = [task, {"calls": 3, "batch": 1}, {"calls": 2, "batch": 4}]
    answers = io.StringIO()
    serve(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers)
    loaded, first, second = map(json.loads, answers.getvalue().splitlines())
    assert loaded["load_s"] > loaded["first_call_ms"] / 1e3
    assert (len(first["ms"]), len(second["ms"])) == (3, 2)
    assert second["peak_rss_mb"] >= first["peak_rss_mb"] > 10


def test_memory_is_this_process_s() -> None:
    before = peak_rss_mb()
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    # The peak may lie before: then it does not rise.
    assert peak_rss_mb() >= max(before, 200.0)

"""Measure latency: of every backend with every network, or of a policy server under load.

The networks are untrained, since the time of a chunk does not depend on the weights.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from pipeline.benchmark.latency import Subject, Timing, time_backends
from pipeline.errors import PipelineError
from pipeline.export.graph import export_onnx
from pipeline.layout import Layout
from pipeline.machine import available_cores, processor
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, make_config, save_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.robot.chain import policy_geometry
from pipeline.robot.model import RobotModel
from pipeline.run import console, versions, write_json
from pipeline.runtime.deployment import Deployment
from pipeline.runtime.load import BACKENDS, load_policy

RATE_HZ = 30.0
CLIENTS = (1, 10, 30, 100)
LEAST_CALLS = 60
"""Least number of calls of each client."""
NETWORKS = ("mlp", "unet", "transformer")
Variants = list[tuple[str, bool, str]]
VARIANTS: Variants = [
    ("onnxruntime unrolled", True, "float32"),
    ("onnxruntime float16", False, "float16"),
]


class BenchError(PipelineError):
    """There is no benchmark of that name."""


def run(params: Params, what: str, out: Path, calls: int, model: Path | None = None) -> None:
    """Measure, write `out`/inference.json or serve.json, print a table.

    Args:
        params: networks, and what the graph carries.
        what: inference or serve.
        out: folder, made where it is missing.
        calls: timed calls of each backend, or direct calls and least number of all clients' calls.
        model: folder of export, for serve; None for an untrained default policy.

    Raises:
        BenchError: there is no benchmark of that name.
    """
    known = {"inference": inference, "serve": serve}
    if what not in known:
        raise BenchError(f"bench {what!r} is unknown; known: {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    known[what](params, out, calls, model)


def inference(params: Params, out: Path, calls: int, _: Path | None = None) -> None:
    """Time every network on every backend, one observation a call, on one thread and on all.

    Args:
        params: all parameters.
        out: folder.
        calls: timed calls of each backend.
    """
    cores = available_cores()
    result: dict[str, Any] = {"machine": machine(), "calls": calls, "networks": {}}
    picture: dict[str, dict[str, Timing]] = {}
    for network in NETWORKS:
        chosen = params.override("policy", network=network)
        result["networks"][network] = by_threads = {}
        with exported(chosen, VARIANTS) as subjects:
            for threads in sorted({1, cores}):
                load = os.getloadavg()[0]
                timings = time_backends(subjects, calls, threads)
                if threads == 1:
                    picture[network] = timings
                rows = {name: timing.summary() for name, timing in timings.items()}
                by_threads[f"{threads} threads" if threads > 1 else "1 thread"] = {
                    "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
                    "backends": rows,
                }
                _show(network, threads, rows)
        write_json(out / "inference.json", result)
    _jitter(out / "inference.png", picture)


def serve(params: Params, out: Path, calls: int, model: Path | None = None) -> None:
    """Time round trips and direct calls for 1 to 100 robots at 30 Hz that call `act` or `predict`.

    The server runs in one process, and in as many as there are cores.

    Args:
        params: all parameters.
        out: folder.
        calls: direct calls, and the least number of all clients' calls together.
        model: folder of export; None for an untrained default policy.
    """
    # `bench.gpu` times backends where neither websockets nor, below, OMPL is installed.
    from pipeline.benchmark.server_latency import Load, direct_calls, under_load

    with exported(params, []) as subjects:
        subject = subjects["onnxruntime"]
        served = model or subject.path
        deployment = Deployment.from_json(subject.deployment, "params.yaml")
        policy = load_policy(served, "onnxruntime", deployment=deployment)
        home = start(params)
        direct = Timing(ms=direct_calls(policy, home, calls)).summary()
        policy.act(home)
        asked: dict[str, tuple[dict[str, Any], float]] = {
            "act": ({"observation": {key: values.tolist() for key, values in home.items()}},
                    RATE_HZ),
            # Robots that run `act` themselves ask the server for chunks.
            "predict": ({"obs": policy.history().tolist()},
                        RATE_HZ / deployment.execution.execute_steps),
        }  # fmt: skip
        rows = []
        for call, (arguments, rate_hz) in asked.items():
            for workers, clients in product(sorted({1, available_cores()}), CLIENTS):
                message = {"call": call, **arguments}
                load = Load(message, clients, max(calls // clients, LEAST_CALLS), rate_hz)
                before = os.getloadavg()[0]
                trips = under_load(served, deployment, load, workers).summary()
                row = {"call": call, "workers": workers, **trips, "load_average": round(before, 2)}
                rows.append(row)
                _show_served(row)
    console.print(f"direct: median {direct['median_ms']} ms, 99 % below {direct['p99_ms']} ms")
    write_json(out / "serve.json", {"machine": machine(), "direct": direct, "served": rows})


def start(params: Params) -> dict[str, NDArray[np.float64]]:
    """An arm at home and an object that it can reach.

    Args:
        params: sections robot, task and collect.

    Returns:
        Keys joint_pos, object_pos and object_axis.
    """
    from pipeline.evaluation.draw import draw_trials
    from pipeline.robot.planner import Planner

    planner = Planner(params.robot, params.task, params.collect)
    trials = draw_trials(planner, params.task, 1, params.evaluate.seed)
    place = {"object_pos": trials.object_pos[0], "object_axis": trials.object_axis[0]}
    return {"joint_pos": np.array(params.robot.home_rad), **place}


def _show_served(row: Mapping[str, Any]) -> None:
    console.print(
        f"{row['call']}, {row['workers']} serving processes, {row['clients']} clients at "
        f"{row['rate_hz']:g} Hz: median {row['median_ms']} ms, 99 % below {row['p99_ms']} ms, most "
        f"{row['max_ms']} ms; {row['late']} of {row['calls']} late, {row['errors']} errors; CPU "
        f"time of a call {row['server_cpu_ms']} ms in the server, {row['client_cpu_ms']} ms in the "
        "client"
    )


@contextmanager
def exported(params: Params, variants: Variants) -> Iterator[dict[str, Subject]]:
    """An untrained policy as a checkpoint and as graphs, in a temporary folder."""
    layout, robot = Layout.from_params(params), RobotModel.from_params(params.robot)
    geometry = policy_geometry(robot, params.task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = PolicyModel(params.policy, layout, geometry).state_dict()
    config = make_config(params.policy, layout, geometry, RATE_HZ)
    examples = torch.zeros(1, params.policy.n_obs_steps, layout.state_dim)
    checkpoint = Checkpoint(weights, weights, config, {}, layout, examples)
    text = Deployment.from_params(params.execution, robot.limits).to_json()
    with tempfile.TemporaryDirectory() as folder:
        file, graph = Path(folder, "model.pt"), Path(folder, "policy.onnx")
        save_checkpoint(file, checkpoint)
        export_onnx(checkpoint, graph, params.export.opset, {"deployment": text})
        subjects = {
            name: Subject(name, file if name == "torch" else graph, text)
            for name in reversed(BACKENDS)
        }
        for number, (name, unrolled, precision) in enumerate(variants):
            other = Path(folder, f"variant_{number}.onnx")
            export_onnx(
                checkpoint, other, params.export.opset, {}, unrolled,
                "float16" if precision == "float16" else "float32",
            )  # fmt: skip
            subjects[name] = Subject("onnxruntime", other, text)
        yield subjects


def machine() -> dict[str, Any]:
    """The machine of the measurement."""
    return {
        "processor": processor(),
        "cores": available_cores(),
        "system": platform.platform(),
        "versions": versions("torch", "onnxruntime", "numpy", "tensorrt-rtx", "tensorrt"),
    }


def _show(network: str, threads: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
    title = f"{network}, {threads} thread{'s' if threads > 1 else ''}, batch 1"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    headings = ("", "median ms", "99 % ms", "most ms", "share", "load s", "MB")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    torch_ms = rows["torch"].get("median_ms")
    for name, row in rows.items():
        if row["status"] != "run":
            table.add_row(name, *"–––", "–", "–", "–")
            continue
        share = f"{row['median_ms'] / torch_ms:.2f}" if torch_ms else "–"
        table.add_row(
            name, f"{row['median_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['max_ms']:.2f}",
            share, f"{row['load_s']:.2f}", f"{row['peak_rss_mb']:.0f}",
        )  # fmt: skip
    console.print(table)


def _jitter(path: Path, timings: Mapping[str, Mapping[str, Timing]]) -> None:
    """Plot each call's time in order, one panel a network, log scale."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(timings), figsize=(4 * len(timings), 3.2), squeeze=False)
    for axes, (network, found) in zip(panels[0], timings.items(), strict=True):
        for name, timing in found.items():
            if timing.reason is None:
                axes.plot(timing.ms, ".", markersize=1.5, label=name)
        axes.set(yscale="log", title=network, xlabel="call", ylabel="ms")
        axes.legend(fontsize=7, markerscale=5)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)

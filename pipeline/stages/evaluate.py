"""Evaluate: open loop on the test episodes, closed loop in MuJoCo on new pens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.store import Dataset, load_dataset
from pipeline.errors import PipelineError
from pipeline.evaluation.draw import draw_trials
from pipeline.evaluation.execution import execution_summary, guard_summary
from pipeline.evaluation.failures import Demonstrations, Failure, classify, count
from pipeline.evaluation.judge import ClosedLoop, judge, obstacle_clearances
from pipeline.evaluation.open_loop import OpenLoop, compare
from pipeline.evaluation.predictors import compare_backends, load_predictors
from pipeline.evaluation.report import plots
from pipeline.evaluation.report.console import (
    print_backends,
    print_closed_loop,
    print_fallback,
    print_grasp,
    print_robustness,
)
from pipeline.evaluation.report.html import Findings, films_of, write_report
from pipeline.evaluation.results import write_failures, write_tables
from pipeline.evaluation.robustness import Outcome, write_outcomes
from pipeline.evaluation.rollout import Loop, Predict
from pipeline.evaluation.suites.fallback import fall_back
from pipeline.evaluation.suites.families import Families, load_on_cpu, make_loop, undisturbed
from pipeline.evaluation.suites.grasps import grasp_summary, lifted
from pipeline.evaluation.trials import Trials, expert_commands
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy import DiffusionPolicy
from pipeline.policy.observation import obstacle_slots
from pipeline.robot.collision import CollisionChecker
from pipeline.robot.grasp import GraspSimulator
from pipeline.robot.model import RobotModel
from pipeline.robot.planner import Planner, seed_planning
from pipeline.run import console, output_folder, require_own_folder, track, write_json

Array = NDArray[np.float64]


class EvaluateError(PipelineError):
    """Policy, data set and parameters do not fit together."""


def run(params: Params, out: Path, model: Path | None = None, data: Path | None = None) -> None:
    """Measure a policy and write metrics.json, tables and pictures.

    Args:
        params: all parameters.
        out: folder to write.
        model: checkpoint; artifacts/train/best_model.pt by default.
        data: training zarr; that of artifacts/dataset by default.

    Raises:
        PipelineError: an input is missing, or has another layout or rate.
    """
    model = model or Path("artifacts/train/best_model.pt")
    data = data or Path(f"artifacts/dataset/{params.task.object}_grasp.zarr")
    require_own_folder(out)
    started = time.perf_counter()
    layout = Layout.from_params(params)
    policy = _load(model, layout)
    dataset = load_dataset(data, layout, params.dataset)
    rate_hz = _rate(policy.checkpoint.config["rate_hz"], model, dataset, data)

    predict = load_predictors(policy, params.evaluate.backends[:1], params)[0]
    Families.prepare(params)
    robot = RobotModel.from_params(params.robot)
    console.print(f"Open loop on {data}")
    open_loop = compare(
        predict, dataset, robot, policy.horizon, policy.n_obs_steps, rate_hz,
        params.evaluate.open_loop_windows, params.evaluate.seed, params.execution.noise_scale,
        obstacle_slots(policy.checkpoint.config),
    )  # fmt: skip
    console.print(f"Closed loop on {params.evaluate.pens} {params.task.object}s")
    seed_planning(params.evaluate.seed)
    planner = Planner(params.robot, params.task, params.collect)
    trials = draw_trials(planner, params.task, params.evaluate.pens, params.evaluate.seed)
    families = Families(params, model, rate_hz, trials)
    with families.measured() as disturbed:
        loop = make_loop(params, policy, rate_hz)
        results = _roll_out(loop, predict, trials, params, rate_hz)
        pool = ThreadPoolExecutor(1)  # draws in a child process, meanwhile
        drawn = pool.submit(films_of, params, trials, results, rate_hz)
        suites = {
            "fallback": fall_back(loop, results["policy"], trials, planner, params),
            **_grasp(params, results, trials),
            "backends": _backends(loop, policy, results["policy"], trials, params),
        }
        outcomes = _robustness(results["policy"], disturbed, families)
    known = Demonstrations.from_dataset(dataset)
    failures = classify(
        results["policy"], results["expert"], trials, known, robot, params.task,
        params.evaluate.failures,
    )  # fmt: skip
    with output_folder(out) as folder:
        _write(folder, params, robot, trials, results, open_loop, rate_hz)
        write_failures(folder / "failures.csv", failures)
        if outcomes:
            write_outcomes(folder / "robustness.csv", outcomes)
            plots.robustness(folder / "plots" / "robustness.png", outcomes)
        metrics = {
            **_metrics(trials, results, open_loop, failures),
            "execution": execution_summary(results["policy"].rollouts, rate_hz),
            "guard": guard_summary(results["policy"].rollouts),
            "robustness": {outcome.condition.name: outcome.summary for outcome in outcomes},
            **suites,
            "seconds": round(time.perf_counter() - started, 1),
        }
        write_json(folder / "metrics.json", metrics)
        found = Findings(
            params, model, dataset, rate_hz, trials, results, open_loop, known, failures, metrics,
            drawn,
        )  # fmt: skip
        write_report(folder, found)
    pool.shutdown()
    _print(results, open_loop, suites, metrics, outcomes)


def _print(
    results: dict[str, ClosedLoop],
    open_loop: OpenLoop,
    suites: dict[str, Any],
    metrics: dict[str, Any],
    outcomes: list[Outcome],
) -> None:
    print_closed_loop({name: each.summary for name, each in results.items()}, open_loop.summary)
    print_fallback(suites["fallback"])
    print_backends(metrics["backends"])
    print_robustness(outcomes)
    print_grasp(suites.get("grasp"))


def _load(model: Path, layout: Layout) -> DiffusionPolicy:
    """Load a checkpoint, and refuse one of another layout."""
    policy = load_on_cpu(model)
    if policy.layout.is_generic:
        raise EvaluateError(
            f"{model}: its layout is generic, so there is no arm to roll out; run the policy in "
            "its own environment with pipeline.load_policy, as examples/pusht/evaluate.py does"
        )
    policy.layout.require(layout, str(model), "params.yaml")
    return policy


def _rate(policy_hz: float | None, model: Path, dataset: Dataset, data: Path) -> float:
    if policy_hz is None:
        raise EvaluateError(
            f"{model}: was trained on data without a rate, so its steps have no duration; expected "
            "rate_hz in the data set's attributes: train again with --rate-hz, or add the attribute"
        )
    if dataset.rate_hz is not None and dataset.rate_hz != policy_hz:
        raise EvaluateError(
            f"{model}: trained at {policy_hz} Hz, but {data} is sampled at {dataset.rate_hz} Hz; "
            "expected the same rate: train again on this data set"
        )
    return policy_hz


def _roll_out(
    loop: Loop, predict: Predict, trials: Trials, params: Params, rate_hz: float
) -> dict[str, ClosedLoop]:
    """Rollouts of the policy, of the expert (its ceiling) and of an arm at rest (its floor)."""
    steps = trials.steps(rate_hz, params.evaluate.rollout_steps)
    still = loop.replay(np.tile(loop.model.home, (1, steps, 1)), trials.first(1))
    rollouts = {
        "policy": loop.run(predict, trials, steps, params.evaluate.seed),
        "expert": loop.replay(expert_commands(trials, rate_hz, steps), trials),
        "stand_still": still.repeated(len(trials)),
    }
    checker = CollisionChecker(params.robot, params.task)
    return {
        name: judge(rollout, trials, checker, params.task) for name, rollout in rollouts.items()
    }


def _backends(
    loop: Loop, policy: DiffusionPolicy, first: ClosedLoop, trials: Trials, params: Params
) -> dict[str, Any]:
    """The entry `backends` of metrics.json; the first one's rollouts are known."""
    predictors = load_predictors(policy, params.evaluate.backends, params)[1]
    checker = CollisionChecker(params.robot, params.task)
    steps = first.rollouts.command.shape[1]

    def run(predict: Predict) -> ClosedLoop:
        rollouts = loop.run(predict, trials, steps, params.evaluate.seed)
        return judge(rollouts, trials, checker, params.task)

    return compare_backends(predictors, first, run)


def _robustness(
    policy: ClosedLoop, disturbed: Iterator[list[Outcome]], families: Families
) -> list[Outcome]:
    """The outcomes of the robustness suite; those of the disturbed conditions are waited for."""
    outcomes = undisturbed(families.params, families.rate_hz, policy)
    chosen = families.conditions
    if outcomes:
        number = len(outcomes) + sum(map(len, chosen))
        console.print(f"Robustness: {number} conditions, {outcomes[0].summary['n']} trials each")
    for family in track(disturbed, "Measuring", len(chosen)):
        outcomes += family
    return outcomes


def _grasp(params: Params, results: dict[str, ClosedLoop], trials: Trials) -> dict[str, Any]:
    """The entry `grasp` of metrics.json; none where it is left out."""
    number = params.evaluate.grasp_pens
    if number == 0:
        return {}
    console.print(f"Grasping {min(number, len(trials))} {params.task.object}s")
    simulator = GraspSimulator(params.robot, params.task, params.evaluate)
    policy, expert = (
        lifted(simulator, results[name], trials, number) for name in ("policy", "expert")
    )
    return {"grasp": grasp_summary(policy, expert)}


def _metrics(
    trials: Trials,
    results: dict[str, ClosedLoop],
    open_loop: OpenLoop,
    failures: list[Failure],
) -> dict[str, Any]:
    floor = (
        "n", "success_team", "success_strict", "success_collision_free", "error_mm_median",
        "collisions",
    )  # fmt: skip
    return {
        "closed_loop": {**results["policy"].summary, "reachable": len(trials) / trials.drawn},
        "expert": {key: results["expert"].summary[key] for key in floor},
        "stand_still": {key: results["stand_still"].summary[key] for key in floor},
        "open_loop": open_loop.summary,
        "failures": count(failures),
    }


def _write(
    folder: Path,
    params: Params,
    robot: RobotModel,
    trials: Trials,
    results: dict[str, ClosedLoop],
    open_loop: OpenLoop,
    rate_hz: float,
) -> None:
    policy, expert = results["policy"], results["expert"]
    final_m = policy.error.cap_m[:, -1]
    checker = CollisionChecker(params.robot, params.task)
    clearance_m = obstacle_clearances(checker, policy.rollouts, trials)
    write_tables(
        folder, policy, trials, clearance_m, open_loop, robot.joints, params.task.object, rate_hz
    )
    pictures = folder / "plots"
    pictures.mkdir()
    plots.error_over_time(pictures / "error_over_time.png", policy.error, expert.error, rate_hz)
    plots.reach_map(
        pictures / "reach_map.png", trials, params.task, policy.passed["strict"], final_m
    )
    plots.open_loop(pictures / "open_loop.png", open_loop, robot.joints)
    plots.worst_rollouts(
        pictures / "worst_rollouts.png", robot, trials, params.task,
        policy.rollouts, expert.rollouts, final_m, rate_hz,
    )  # fmt: skip
    median = int(np.argsort(final_m)[len(final_m) // 2])
    plots.joint_curves(
        pictures / "joint_curves.png", policy.rollouts, expert.rollouts, robot.joints,
        median, rate_hz,
    )  # fmt: skip

"""Runs grasp trials: the fingers close at the end of a rollout, and the arm lifts the object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.judge import ClosedLoop
from pipeline.evaluation.metrics import wilson_interval
from pipeline.evaluation.trials import Trials
from pipeline.robot.grasp import GraspSimulator


def lifted(
    simulator: GraspSimulator, result: ClosedLoop, trials: Trials, number: int
) -> NDArray[np.bool_]:
    """Try to grasp and lift the first objects from the final poses of their rollouts.

    Args:
        simulator: arm, gripper and object with contacts.
        result: judged rollouts. One that touched something on its way fails without a try.
        trials: objects of the rollouts.
        number: number of objects to try; all of them if there are fewer.

    Returns:
        Whether each object was lifted. Shape (min(number, N),).
    """
    number = min(number, len(trials))
    success = np.zeros(number, np.bool_)
    fair = np.flatnonzero(~result.collided[:number])
    lifts = simulator.lift(
        result.rollouts.joint_pos[fair, -1], trials.object_pos[fair], trials.object_axis[fair],
        [trials.around(trial) for trial in fair.tolist()],
    )  # fmt: skip
    success[fair] = lifts.lifted
    return success


def grasp_summary(policy: NDArray[np.bool_], expert: NDArray[np.bool_]) -> dict[str, Any]:
    """Summarise grasp trials for metrics.json.

    Args:
        policy: whether the policy lifted each object. Shape (N,).
        expert: whether the expert's replay lifted it, as an upper bound. Shape (N,).

    Returns:
        n, success and its 95 % interval, and the same for the expert.
    """
    return {**_share(policy), "expert": _share(expert)}


def _share(success: NDArray[np.bool_]) -> dict[str, Any]:
    interval = wilson_interval(int(success.sum()), len(success))
    return {"n": len(success), "success": float(success.mean()), "ci95": list(interval)}

"""The nearest demonstration is the one whose object lies nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.failures import Demonstrations
from pipeline.params import Params
from pipeline.play.nearest import NearestDemonstration
from pipeline.robot.model import RobotModel


@pytest.fixture
def known() -> Demonstrations:
    axis = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.6, 0.8]])
    position = np.array([[0.3, 0.0, 0.2], [0.5, 0.0, 0.2], [0.3, 0.0, 0.2]])
    joint_pos = np.tile([0.0, -0.3, 0.8, 0.0, 1.57, 0.0], (7, 1))
    joint_pos[:, 0] = np.arange(7) / 10
    owner = np.array([0, 0, 1, 1, 1, 2, 2])
    return Demonstrations(np.array([4, 8, 9]), position, axis, joint_pos, owner)


def test_position_and_tilt_both_count(known: Demonstrations, model: RobotModel) -> None:
    search = NearestDemonstration(known, 0.12, model)
    upright = np.array([0.0, 0.0, 1.0])
    found = search.find(np.array([0.31, 0.0, 0.2]), upright)
    assert (found.episode, found.offset_mm) == (4, pytest.approx(10))
    assert found.angle_deg == pytest.approx(0, abs=1e-3)
    assert search.find(np.array([0.31, 0.0, 0.2]), np.array([0.0, 0.6, 0.8])).episode == 9
    found = search.find(np.array([0.49, 0.0, 0.2]), upright)
    assert found.episode == 8 and found.path.shape == (3, 3)
    assert found.path == pytest.approx(model.fk(known.joint_pos[2:5])[:, :3])


def test_without_a_data_set_there_is_none(
    params: Params, model: RobotModel, tmp_path: Path
) -> None:
    assert NearestDemonstration.from_file(tmp_path / "none.zarr", params, model) is None

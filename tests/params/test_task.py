"""The sections robot and task, without a file: what cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.params import Params
from pipeline.params.task import Box, GripperParams, TaskParams

LENGTH = st.floats(1e-3, 10)


@given(st.tuples(*[st.floats(-5, 5)] * 3), st.tuples(LENGTH, LENGTH, LENGTH))
def test_a_box_survives_a_round_trip(centre: tuple[float, ...], size: tuple[float, ...]) -> None:
    box = Box.model_validate({"centre_m": centre, "size_m": size})
    assert Box.model_validate_json(box.model_dump_json()) == box


@pytest.mark.parametrize("size", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0), (1.0, 1.0, "x")])
def test_a_box_without_volume_is_refused(size: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError, match="size_m"):
        Box.model_validate({"centre_m": (0, 0, 0), "size_m": size})


def test_the_repository_s_scenes_lie_above_its_table(params: Params) -> None:
    assert params.task.scenes[params.task.scene] == (), "the default scene is free"
    for boxes in params.task.scenes.values():
        for box in boxes:
            assert box.centre_m[2] - box.size_m[2] / 2 >= params.task.table_height_m - 1e-9


def test_a_scene_that_is_not_there_is_refused_with_those_that_are(params: Params) -> None:
    with pytest.raises(ValidationError, match="'moon' is unknown; expected one of free, bar"):
        TaskParams.model_validate({**params.task.model_dump(), "scene": "moon"})


def test_every_finger_needs_a_direction(params: Params) -> None:
    gripper = params.robot.gripper.model_dump()
    with pytest.raises(ValidationError, match="1 directions for 2 fingers"):
        GripperParams.model_validate({**gripper, "closing": gripper["closing"][:1]})
    with pytest.raises(ValidationError, match="without length"):
        GripperParams.model_validate({**gripper, "closing": ((0, 0, 0), (1, 0, 0))})

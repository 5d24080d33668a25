from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.features import FeatureError, ObservationFeatures, VectorFeatures
from pipeline.robot.model import RobotModel
from tests.fixtures.policy import random_states


def test_features_are_named_and_velocity_is_not_among_them(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    features = ObservationFeatures(params.policy, layout, geometry)
    assert features.num_features == 27 == len(set(features.names))
    assert not any("vel" in name for name in features.names)
    assert features.names[:2] == ("joint_pos[0]", "joint_pos[1]")
    assert features.names[-1] == "asinh_axis_in_tcp_y"


def test_selected_fields_pass_as_they_are(
    params: Params, layout: Layout, geometry: Geometry, rng: np.random.Generator
) -> None:
    chosen = params.override("policy", inputs=["object_axis", "joint_vel"], object_in_tcp=False)
    obs = random_states(rng, layout, 3, 2)
    out = ObservationFeatures(chosen.policy, layout, geometry)(torch.from_numpy(obs)).numpy()
    expected = [layout.unpack(obs, "object_axis"), layout.unpack(obs, "joint_vel")]
    np.testing.assert_array_equal(out, np.concatenate(expected, axis=-1))


def test_the_gripper_and_the_grasp_are_seen_as_the_robot_s_model_says(
    params: Params, layout: Layout, geometry: Geometry, rng: np.random.Generator
) -> None:
    robot = RobotModel.from_params(params.robot)
    obs = random_states(rng, layout, 5, 2)
    features = ObservationFeatures(params.policy, layout, geometry)
    out = dict(zip(features.names, features(torch.from_numpy(obs))[:, 1].numpy().T, strict=True))
    for row, state in enumerate(obs[:, 1].astype(np.float64)):
        tcp = robot.tcp(layout.unpack(state, "joint_pos"))
        held = layout.unpack(state, "joint_pos").copy()
        held[-1] = 0.0  # the idle joint
        to_tcp = robot.tcp(held).rotation.T
        axis = layout.unpack(state, "object_axis")
        grasp = layout.unpack(state, "object_pos") + params.task.object_length_m / 2 * axis
        offset, axis = to_tcp @ (grasp - tcp.translation), to_tcp @ axis
        for index, name in enumerate("xyz"):
            assert out[f"tcp_{name}"][row] == pytest.approx(tcp.translation[index], abs=1e-5)
            assert out[f"tcp_z_axis_{name}"][row] == pytest.approx(tcp.rotation[index, 2], abs=1e-5)
            assert out[f"grasp_in_tcp_{name}"][row] == pytest.approx(offset[index], abs=1e-5)
            assert out[f"asinh_grasp_in_tcp_{name}"][row] == pytest.approx(
                np.arcsinh(offset[index] / params.policy.offset_scale_m), abs=1e-3
            )
        for index, name in enumerate("xy"):
            assert out[f"asinh_axis_in_tcp_{name}"][row] == pytest.approx(
                np.arcsinh(axis[index] / params.policy.tilt_scale), abs=1e-3
            )
        assert out["axis_in_tcp_z"][row] == pytest.approx(axis[2], abs=1e-5)


def test_a_recorded_gripper_pose_is_not_trusted(
    params: Params, layout: Layout, geometry: Geometry, rng: np.random.Generator
) -> None:
    features = ObservationFeatures(params.policy, layout, geometry)
    obs = random_states(rng, layout, 4, 2)
    other = obs.copy()
    layout.unpack(other, "ee_pose")[...] = 0.0
    torch.testing.assert_close(features(torch.from_numpy(obs)), features(torch.from_numpy(other)))


def test_a_whole_turn_of_an_endless_joint_changes_nothing(
    params: Params, layout: Layout, geometry: Geometry, rng: np.random.Generator
) -> None:
    first, *others = geometry.chain.joints
    endless = replace(first, motion="continuous")
    turning = replace(geometry, chain=replace(geometry.chain, joints=(endless, *others)))
    features = ObservationFeatures(params.policy, layout, turning)
    obs = torch.from_numpy(random_states(rng, layout, 4, 2))
    turned = obs.clone()
    turned[..., 0] += 2 * np.pi
    assert features.num_features == 28
    assert features.names[5:7] == ("cos_joint_pos[0]", "sin_joint_pos[0]")
    torch.testing.assert_close(features(obs), features(turned), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inputs", [["joint_pos", "joint_pos"], []])
def test_inputs_named_twice_or_not_at_all_are_refused(
    params: Params, layout: Layout, geometry: Geometry, inputs: list[str]
) -> None:
    with pytest.raises(FeatureError, match=r"policy\.inputs"):
        ObservationFeatures(params.override("policy", inputs=inputs).policy, layout, geometry)


def test_a_state_without_the_needed_field_is_refused_by_name(
    params: Params, geometry: Geometry
) -> None:
    layout = Layout.build(("a", "b"), "pen", ("joint_pos", "object_pos"))
    with pytest.raises(FeatureError, match="object_axis"):
        ObservationFeatures(params.policy, layout, geometry)


def test_vectors_pass_as_they_are() -> None:
    features = VectorFeatures(Layout.generic({"points": 2, "state": 1}, 2))
    obs = torch.randn(3, 2, 3)
    assert features.names == ("points[0]", "points[1]", "state[0]") and features.num_features == 3
    assert features(obs) is obs

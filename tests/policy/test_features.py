from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.policy.features import FeatureError, ObservationFeatures

from .conftest import random_states

QUATERNIONS = arrays(
    np.float64, (4,), elements=st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 3))
).filter(lambda q: np.linalg.norm(q) > 0.1)


def test_features_are_named_and_velocity_is_not_among_them(params: Params, layout: Layout) -> None:
    features = ObservationFeatures(params.policy, layout)
    assert features.num_features == 24 == len(set(features.names))
    assert not any("vel" in name for name in features.names)
    assert features.names[:2] == ("joint_pos[0]", "joint_pos[1]")
    assert features.names[-1] == "pen_axis_in_tcp_z"


def test_selected_fields_pass_as_they_are(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    chosen = params.override("policy", inputs=["object_axis", "joint_vel"], object_in_tcp=False)
    obs = random_states(rng, layout, 3, 2)
    out = ObservationFeatures(chosen.policy, layout)(torch.from_numpy(obs)).numpy()
    expected = [layout.unpack(obs, "object_axis"), layout.unpack(obs, "joint_vel")]
    np.testing.assert_array_equal(out, np.concatenate(expected, axis=-1))


@given(quaternion=QUATERNIONS, seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_object_is_seen_from_the_tcp_as_scipy_says(
    params: Params, layout: Layout, quaternion: np.ndarray, seed: int
) -> None:
    obs = random_states(np.random.default_rng(seed), layout, 1, 2)
    pose = layout.unpack(obs, "ee_pose")
    pose[..., 3:] = quaternion  # of any length: a measured one is never exactly unit
    out = ObservationFeatures(params.policy, layout)(torch.from_numpy(obs)).numpy()[0, 1]
    rotation = Rotation.from_quat(quaternion)
    offset = layout.unpack(obs, "object_pos")[0, 1] - pose[0, 1, :3]
    axis = layout.unpack(obs, "object_axis")[0, 1]
    np.testing.assert_allclose(out[9:12], rotation.apply([0, 0, 1]), atol=1e-5)
    np.testing.assert_allclose(out[18:21], rotation.inv().apply(offset), atol=1e-5)
    np.testing.assert_allclose(out[21:24], rotation.inv().apply(axis), atol=1e-5)


def test_both_signs_of_a_quaternion_look_the_same(
    params: Params, layout: Layout, rng: np.random.Generator
) -> None:
    features = ObservationFeatures(params.policy, layout)
    obs = random_states(rng, layout, 4, 2)
    flipped = obs.copy()
    layout.unpack(flipped, "ee_pose")[..., 3:] *= -1
    torch.testing.assert_close(features(torch.from_numpy(obs)), features(torch.from_numpy(flipped)))


@pytest.mark.parametrize("inputs", [["joint_pos", "joint_pos"], []])
def test_inputs_named_twice_or_not_at_all_are_refused(
    params: Params, layout: Layout, inputs: list[str]
) -> None:
    with pytest.raises(FeatureError, match=r"policy\.inputs"):
        ObservationFeatures(params.override("policy", inputs=inputs).policy, layout)


def test_a_state_without_the_needed_field_is_refused_by_name(params: Params) -> None:
    layout = Layout.build(("a", "b"), "pen", ("joint_pos", "object_pos"))
    with pytest.raises(FeatureError, match="ee_pose, object_axis"):
        ObservationFeatures(params.policy, layout)

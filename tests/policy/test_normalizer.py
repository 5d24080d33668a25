from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.policy.normalizer import ActionCodec, MinMax, NormalizerError

VALUES = arrays(np.float32, (20, 3), elements=st.floats(-5, 5, width=32))


def fitted(values: torch.Tensor) -> MinMax:
    scale = MinMax(values.shape[1:])
    scale.fit(*values.aminmax(dim=0))
    return scale


@given(values=VALUES)
@settings(deadline=None)
def test_training_values_stay_within_one_and_come_back(values: np.ndarray) -> None:
    data = torch.from_numpy(values)
    scale = fitted(data)
    normal = scale.normalize(data)
    assert normal.abs().max() <= 1 + 1e-4
    torch.testing.assert_close(scale.denormalize(normal), data, atol=1e-5, rtol=1e-5)


def test_the_ends_of_the_range_become_plus_and_minus_one() -> None:
    scale = fitted(torch.tensor([[2.0], [3.0], [6.0]]))
    torch.testing.assert_close(
        scale.normalize(torch.tensor([[2.0], [4.0], [6.0]])), torch.tensor([[-1.0], [0.0], [1.0]])
    )


def test_a_constant_entry_is_dropped_and_comes_back_as_its_constant() -> None:
    scale = fitted(torch.tensor([[0.5, 1.0], [0.5, 2.0]]))
    assert scale.normalize(torch.tensor([9.0, 1.5]))[0] == 0
    assert scale.denormalize(torch.tensor([0.7, 0.0]))[0] == 0.5


def test_ranges_that_are_not_finite_or_of_another_shape_are_refused() -> None:
    with pytest.raises(NormalizerError, match="not finite"):
        MinMax((2,)).fit(torch.tensor([0.0, float("nan")]), torch.ones(2))
    with pytest.raises(NormalizerError, match="shapes"):
        MinMax((2,)).fit(torch.zeros(3), torch.ones(3))


def test_ranges_travel_in_the_state_dictionary() -> None:
    scale = fitted(torch.tensor([[0.0], [4.0]]))
    other = MinMax((1,))
    other.load_state_dict(scale.state_dict())
    assert other.normalize(torch.tensor([4.0])) == 1


@pytest.mark.parametrize("scale_rad", [0.05, 10.0, None])
@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_actions_come_back_whatever_the_joints_are(scale_rad: float | None, seed: int) -> None:
    torch.manual_seed(seed)
    codec = ActionCodec(horizon=4, action_dim=2, relative_scale_rad=scale_rad)
    action, current = torch.randn(30, 4, 2), torch.randn(30, 2)
    offsets = codec.offset(action, current)
    codec.fit(*offsets.aminmax(dim=0))
    encoded = codec.encode(action, current)
    assert encoded.abs().max() <= 1 + 1e-5
    torch.testing.assert_close(codec.decode(encoded, current), action, atol=1e-5, rtol=1e-5)


def test_relative_actions_do_not_see_where_the_arm_stands() -> None:
    codec = ActionCodec(horizon=3, action_dim=2, relative_scale_rad=0.05)
    action, current = torch.randn(5, 3, 2), torch.randn(5, 2)
    shifted = codec.encode(action + 1, current + 1)
    torch.testing.assert_close(codec.encode(action, current), shifted)


def test_every_horizon_step_has_its_own_range() -> None:
    codec = ActionCodec(horizon=2, action_dim=1, relative_scale_rad=0.05)
    action, joints = torch.tensor([[[0.01], [1.0]], [[-0.01], [-1.0]]]), torch.zeros(2, 1)
    codec.fit(*codec.offset(action, joints).aminmax(dim=0))
    encoded = codec.encode(action, joints)
    torch.testing.assert_close(encoded.abs(), torch.ones(2, 2, 1))


def test_staying_is_exactly_zero_and_small_ways_keep_their_resolution() -> None:
    codec = ActionCodec(horizon=1, action_dim=1, relative_scale_rad=0.05)
    codec.fit(torch.tensor([[-1.0]]), torch.tensor([[4.0]]))
    joints = torch.tensor([[0.7]])
    assert codec.encode(joints[:, None], joints) == 0
    assert codec.decode(torch.zeros(1, 1, 1), joints) == joints[:, None]
    # One per cent of the widest way gets seven times its share of the range.
    codec.fit(*codec.offset(torch.tensor([[[-1.6]], [[1.6]]]), torch.zeros(2, 1)).aminmax(dim=0))
    assert codec.encode(torch.tensor([[[0.016]]]), torch.zeros(1, 1)) > 0.07


def test_all_steps_may_share_one_range():
    codec = ActionCodec(3, 2, None, one_range=True)
    low = torch.tensor([[0.0, 5.0], [-1.0, 6.0], [2.0, 7.0]])
    codec.fit(low, low + 1)
    assert torch.equal(codec.scale.center, torch.tensor([[1.0, 6.5]]).expand(3, 2))
    assert torch.equal(codec.scale.radius, torch.tensor([[2.0, 1.5]]).expand(3, 2))

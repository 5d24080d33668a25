from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.kinematics import Geometry, JointLimits
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.training.augmentation import SLIDE_M_PER_RAD, StatePerturbation, unperturbed
from tests.fixtures.policy import make_limits, random_states


def _perturbed(
    params: Params,
    layout: Layout,
    geometry: Geometry,
    number: int = 4000,
    sees_velocity: bool = False,
    limits: JointLimits | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What was added to joints (B, T, J) and actions (B, H, J), and observations (B, T, S)."""
    obs = torch.from_numpy(random_states(np.random.default_rng(0), layout, number, 2))
    action = torch.zeros(number, 16, 6)
    limits = limits or make_limits(params)
    perturb = StatePerturbation(params.train, layout, geometry, 16, limits, sees_velocity)
    moved, target = perturb(obs.clone(), action, torch.Generator().manual_seed(0))
    return (moved - obs)[..., :6], target, moved


def test_the_way_back_starts_where_the_arm_stands_and_decays(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    joints, target, _ = _perturbed(params, layout, geometry)
    torch.testing.assert_close(joints[:, 0], joints[:, 1], atol=1e-5, rtol=0)
    torch.testing.assert_close(target[:, 0], joints[:, 0], atol=1e-5, rtol=0)
    decay = np.exp(-15 / params.train.noise_decay_steps)
    torch.testing.assert_close(target[:, 15], joints[:, 0] * decay, atol=1e-5, rtol=0)


def test_the_share_and_the_size_are_those_of_the_parameters(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    _, target, _ = _perturbed(params, layout, geometry)
    size = target[:, 0].square().mean(dim=1).sqrt()
    assert float((size > 0).float().mean()) == pytest.approx(
        params.train.noise_probability, abs=0.03
    )
    middle = np.sqrt(params.train.noise_min_rad * params.train.noise_max_rad)
    assert float(size[size > 0].median()) == pytest.approx(middle, rel=0.15)


def test_nothing_but_the_joints_is_touched(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    obs = torch.from_numpy(random_states(np.random.default_rng(0), layout, 4000, 2))
    _, _, moved = _perturbed(params, layout, geometry)
    torch.testing.assert_close(moved[..., 6:], obs[..., 6:], atol=0, rtol=0)


def test_a_sliding_joint_moves_by_less(params: Params, layout: Layout, geometry: Geometry) -> None:
    first, *others = geometry.chain.joints
    rail = replace(first, motion="prismatic")
    sliding = replace(geometry, chain=replace(geometry.chain, joints=(rail, *others)))
    _, plain, _ = _perturbed(params, layout, geometry)
    _, scaled, _ = _perturbed(params, layout, sliding)
    torch.testing.assert_close(scaled[..., 0], plain[..., 0] * SLIDE_M_PER_RAD)
    torch.testing.assert_close(scaled[..., 1:], plain[..., 1:])


def test_no_noise_leaves_everything(params: Params, layout: Layout, geometry: Geometry) -> None:
    joints, target, _ = _perturbed(
        params.override("train", noise_probability=0.0), layout, geometry, 50
    )
    assert not joints.any()
    assert not target.any()


def test_velocities_are_blurred_for_a_policy_that_sees_them_and_for_no_other(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    obs = torch.from_numpy(random_states(np.random.default_rng(0), layout, 4000, 2))
    _, _, moved = _perturbed(params, layout, geometry, sees_velocity=True)
    added = (moved - obs)[..., layout.field("joint_vel").slice]
    assert float(added.std()) == pytest.approx(params.train.noise_velocity_rad_s, rel=0.02)
    assert abs(float(added.mean())) < 0.02
    _, _, still = _perturbed(params, layout, geometry)
    velocities = layout.field("joint_vel").slice
    torch.testing.assert_close(still[..., velocities], obs[..., velocities], atol=0, rtol=0)


def test_no_action_is_moved_beyond_a_joint_s_limit(
    params: Params, layout: Layout, geometry: Geometry
) -> None:
    wide = make_limits(params)
    tight = replace(wide, lower=np.full(6, -0.1), upper=np.full(6, 0.1))
    _, free, _ = _perturbed(params, layout, geometry)
    assert float(free.abs().max()) > 0.5
    _, target, _ = _perturbed(params, layout, geometry, limits=tight)
    torch.testing.assert_close(target, free.clamp(-0.1, 0.1))
    shifted = replace(wide, lower=np.full(6, 0.1), upper=np.full(6, 0.2))
    _, target, _ = _perturbed(params, layout, geometry, limits=shifted)
    # The demonstration stands at 0, outside: it is moved inwards or not at all.
    torch.testing.assert_close(target, free.clamp(0.0, 0.2))


def test_without_an_arm_nothing_moves() -> None:
    obs, action = torch.randn(3, 2, 5), torch.randn(3, 4, 2)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    same = unperturbed(obs, action, generator)
    assert same[0] is obs and same[1] is action
    assert torch.equal(generator.get_state(), before)

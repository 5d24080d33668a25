"""Move the joints off the demonstrations in training, and relabel the actions to lead back.

Demonstrations are thin lines through the joint space. The closed loop leaves them all the time, and
a policy that was trained on the lines alone does not return. Shapes: B windows, T history
steps, H horizon, S state numbers, A action numbers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.kinematics import Geometry, JointLimits
from pipeline.layout import Layout
from pipeline.params import TrainParams

SLIDE_M_PER_RAD = 0.3
"""Noise of a sliding joint per rad of a turning one: both move a TCP at 0.3 m equally far."""


class StatePerturbation:
    """Adds noise to the observed joints and relabels the actions so that they decay back.

    With probability `noise_probability` a window's joints are off by n ~ σ · N(0, I), the same in
    every history step, σ log-uniform between `noise_min_rad` and `noise_max_rad`; its action of
    step j then is commanded_j + n · exp(−j / `noise_decay_steps`). Features that follow from
    the joints are computed after this, so they see the arm where it now is. No action is moved
    beyond a position limit of its joint; a demonstrated action beyond one moves no further.

    A policy that sees joint velocities sees them with noise of `noise_velocity_rad_s` in every
    window: a recorded velocity is that of one servo (or of the plan), and a policy that trusts it
    depends on that servo.
    """

    def __init__(
        self,
        params: TrainParams,
        layout: Layout,
        geometry: Geometry,
        horizon: int,
        limits: JointLimits,
        sees_velocity: bool,
    ) -> None:
        """Prepare the constants.

        Args:
            params: section train.
            layout: where the joints are in the state.
            geometry: which joints slide.
            horizon: steps of a chunk, H.
            limits: of the joints, in the order of the layout.
            sees_velocity: whether the policy sees joint velocities.
        """
        self._probability = params.noise_probability
        self._log_low = math.log(params.noise_min_rad)
        self._log_span = math.log(params.noise_max_rad) - self._log_low
        self._joints = layout.field("joint_pos").slice
        self._velocity_rad_s = params.noise_velocity_rad_s if sees_velocity else 0.0
        if sees_velocity:
            self._velocities = layout.field("joint_vel").slice
        sliding = {joint.name for joint in geometry.chain.joints if joint.motion == "prismatic"}
        units = [SLIDE_M_PER_RAD if name in sliding else 1.0 for name in layout.joints]
        steps = torch.arange(horizon)
        self._units = torch.tensor(units)
        self._decay = torch.exp(-steps / params.noise_decay_steps).unsqueeze(-1)
        self._lower = torch.from_numpy(limits.lower).float()
        self._upper = torch.from_numpy(limits.upper).float()

    def __call__(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Perturb a batch.

        Args:
            obs: raw observations, shape (B, T, S); changed in place.
            action: absolute joint positions, rad, shape (B, H, A).
            generator: draws the noise, on the batch's device.

        Returns:
            Observations and actions of the same shapes.
        """
        device = obs.device
        if self._units.device != device:
            self._units, self._decay = self._units.to(device), self._decay.to(device)
            self._lower, self._upper = self._lower.to(device), self._upper.to(device)
        chance, size = torch.rand((2, len(obs), 1), generator=generator, device=device)
        sigma = torch.exp(self._log_low + self._log_span * size) * (chance < self._probability)
        normal = torch.randn((len(obs), len(self._units)), generator=generator, device=device)
        noise = (sigma * normal * self._units).unsqueeze(1)
        obs[..., self._joints] += noise
        if self._velocity_rad_s:
            shape = (*obs.shape[:-1], len(self._units))
            normal = torch.randn(shape, generator=generator, device=device)
            obs[..., self._velocities] += self._velocity_rad_s * self._units * normal
        lower, upper = torch.minimum(self._lower, action), torch.maximum(self._upper, action)
        return obs, torch.clamp(action + noise * self._decay, lower, upper)

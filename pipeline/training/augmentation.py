"""Move the joints off the demonstrations in training, and relabel the actions to lead back.

Demonstrations are thin lines through the joint space. The closed loop leaves them all the time, and
a policy that was trained on the lines alone does not return. Shapes: B windows, T history
steps, H horizon, S state numbers, A action numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.kinematics import Geometry, JointLimits
from pipeline.layout import Layout
from pipeline.params import TrainParams
from pipeline.training.contact import ContactCheck

CHECKED_STEPS = (2, 5)
"""Steps of the way back that are checked for contact, in addition to the perturbed state."""
SCALES = (0.5, 0.2, 0.0)
"""Factors on a noise that leads to contact; each is tried if the one before does so too."""
SLIDE_M_PER_RAD = 0.3
"""Noise of a sliding joint per rad of a turning one: both move a TCP at 0.3 m equally far."""


Perturb = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""From raw observations (B, T, S), actions (B, H, A) and a generator to others like them."""


def unperturbed(obs: Tensor, action: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Leave a batch as it is, where no arm is known.

    Args:
        obs: raw observations, shape (B, T, S).
        action: shape (B, H, A).
        generator: not used.
    """
    return obs, action


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
        contact: ContactCheck | None = None,
    ) -> None:
        """Prepare the constants.

        Args:
            params: section train.
            layout: where the joints are in the state.
            geometry: which joints slide.
            horizon: steps of a chunk, H.
            limits: of the joints, in the order of the layout.
            sees_velocity: whether the policy sees joint velocities.
            contact: computes clearances; None leaves ways back through obstacles as they are.
        """
        self._contact, self._clearance_m = contact, params.noise_clearance_m or 0.0
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
        if self._contact is not None:
            noise = self._kept_clear(obs, action, noise)
        obs[..., self._joints] += noise
        if self._velocity_rad_s:
            shape = (*obs.shape[:-1], len(self._units))
            normal = torch.randn(shape, generator=generator, device=device)
            obs[..., self._velocities] += self._velocity_rad_s * self._units * normal
        lower, upper = torch.minimum(self._lower, action), torch.maximum(self._upper, action)
        return obs, torch.clamp(action + noise * self._decay, lower, upper)

    def _kept_clear(self, obs: Tensor, action: Tensor, noise: Tensor) -> Tensor:
        """Scale down noise whose state or way back touches something; no noise is the last resort.

        Args:
            obs: raw observations, shape (B, T, S).
            action: absolute joint positions, rad, shape (B, H, A).
            noise: rad, shape (B, 1, A).

        Returns:
            Noise of the same shape.
        """
        assert self._contact is not None
        kept = noise.clone()
        steps = [step for step in CHECKED_STEPS if step < action.shape[1]]
        for scale in SCALES:
            left = kept.abs().amax(dim=(1, 2)).nonzero()[:, 0]
            seen, off = obs[left, -1], kept[left]
            ways = [seen[:, self._joints] + off[:, 0]]
            ways += [action[left, step] + off[:, 0] * self._decay[step] for step in steps]
            least = torch.stack([self._contact(way, seen) for way in ways]).amin(dim=0)
            bad = left[least < self._clearance_m]
            kept[bad] = scale * noise[bad]
        return kept

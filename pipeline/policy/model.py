"""The whole policy as one module: features, normalisation, network, diffusion.

Shapes: B observations, T history steps, S state numbers, H horizon, A action numbers, D noise draws
of an observation. What trains, samples and is exported is this one module, so that all three agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.kinematics import Geometry
from pipeline.layout import Layout
from pipeline.params import PolicyParams
from pipeline.policy.diffusion import SamplerTable, noise_levels, shuffles
from pipeline.policy.features import ObservationFeatures
from pipeline.policy.networks.mlp import build_network
from pipeline.policy.normalizer import ActionCodec, MinMax

FIT_CHUNK = 16384
"""Windows that are looked at together when ranges are measured: bounds memory."""


class PolicyModel(nn.Module):
    """From raw observations to absolute joint positions, and the loss that trains it.

    The flow is one line: observation → features → normaliser → network → action codec. The state
    dictionary holds weights and ranges; the schedule follows from the parameters.
    """

    signal: Tensor
    noise: Tensor
    steps: Tensor
    table: Tensor
    shuffles: Tensor

    def __init__(self, params: PolicyParams, layout: Layout, geometry: Geometry) -> None:
        """Build an untrained policy whose normalisers are the identity.

        Args:
            params: section policy.
            layout: the meaning of states and actions.
            geometry: of arm and object.

        Raises:
            FeatureError: the state does not hold what the policy wants to see.
            NetworkError: the network cannot have these dimensions.
        """
        super().__init__()
        self.params, self.layout, self.geometry = params, layout, geometry
        self.joints = layout.field("joint_pos").slice
        self.features = ObservationFeatures(params, layout, geometry)
        self.scale = MinMax((self.features.num_features,))
        scale_rad = params.action_scale_rad if params.actions == "relative" else None
        self.codec = ActionCodec(params.horizon, layout.action_dim, scale_rad)
        self.network = build_network(
            params, layout.action_dim, params.n_obs_steps * self.features.num_features
        )
        signal, noise = noise_levels(params.num_train_steps)
        table = SamplerTable.build(
            params.sampler, params.num_train_steps, params.num_inference_steps, params.prediction
        )
        shuffle = shuffles(params.num_inference_steps, params.horizon * layout.action_dim)
        constants = {
            "signal": torch.from_numpy(signal).float(),
            "noise": torch.from_numpy(noise).float(),
            "steps": torch.from_numpy(table.steps.copy()),
            "table": torch.from_numpy(table.rows()),
            "shuffles": torch.from_numpy(shuffle),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def fit(
        self,
        state: Tensor,
        action: Tensor,
        windows: tuple[Tensor, Tensor],
        perturb: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        """Measure the normalisers' ranges on training windows.

        Args:
            state: shape (N, S).
            action: shape (N, A), rad.
            windows: rows of observations (W, T) and of actions (W, H).
            perturb: what training does to raw observations and actions.

        Raises:
            NormalizerError: a value is not finite.
        """
        pairs = zip(*(torch.split(rows, FIT_CHUNK) for rows in windows), strict=True)
        self.fit_batches(((state[o], action[a]) for o, a in pairs), perturb)

    @torch.no_grad()
    def fit_batches(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        perturb: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        """Measure the normalisers' ranges on windows that come piece by piece.

        Args:
            batches: raw observations (B, T, S) and actions (B, H, A), rad; perturbed in place.
            perturb: what training does to raw observations and actions.

        Raises:
            NormalizerError: a value is not finite.
        """
        feature_ranges, action_ranges = [], []
        for batch in batches:
            obs, target = perturb(*batch)
            features = self.features(obs).flatten(0, 1)
            offsets = self.codec.offset(target, self.current_joints(obs))
            feature_ranges.append(torch.stack(features.aminmax(dim=0)))
            action_ranges.append(torch.stack(offsets.aminmax(dim=0)))
        for normalizer, ranges in ((self.scale, feature_ranges), (self.codec, action_ranges)):
            together = torch.stack(ranges)
            normalizer.fit(together[:, 0].amin(dim=0), together[:, 1].amax(dim=0))

    def current_joints(self, obs: Tensor) -> Tensor:
        """Joints of the newest observation, rad: (B, T, S) to (B, A)."""
        return obs[:, -1, self.joints]

    def condition(self, obs: Tensor) -> Tensor:
        """Normalised features of all history steps: (B, T, S) to (B, C)."""
        return self.scale.normalize(self.features(obs)).flatten(1)

    def loss(
        self,
        obs: Tensor,
        action: Tensor,
        noise: Tensor,
        steps: Tensor,
        precision: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> Tensor:
        """Mean squared error of the prediction (Ho et al. 2020, Algorithm 1).

        Several noise draws share one observation, whose embedding is computed once. Draw d of
        observation b stands in row d · B + b.

        Args:
            obs: raw observations, shape (B, T, S).
            action: absolute joint positions, rad, shape (B, H, A).
            noise: standard normal, shape (D · B, H, A).
            steps: diffusion steps, integers from 0, shape (D · B,).
            precision: makes the context in which the network runs; features, normalisation and the
                loss itself stay in float32, where a millimetre of a metre has its digits.

        Returns:
            A scalar.
        """
        clean = self.codec.encode(action, self.current_joints(obs))
        return self.denoising_loss(self.condition(obs), clean, noise, steps, precision)

    def denoising_loss(
        self,
        condition: Tensor,
        clean: Tensor,
        noise: Tensor,
        steps: Tensor,
        precision: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> Tensor:
        """`loss` on what was prepared already: the part of it that has a gradient.

        Args:
            condition: normalised features, shape (B, C).
            clean: actions as the codec encodes them, shape (B, H, A).
            noise: standard normal, shape (D · B, H, A).
            steps: diffusion steps, integers from 0, shape (D · B,).
            precision: see `loss`.

        Returns:
            A scalar.
        """
        draws = noise.shape[0] // clean.shape[0]
        clean = clean.repeat(draws, 1, 1)
        signal, spread = self.signal[steps, None, None], self.noise[steps, None, None]
        noisy = signal * clean + spread * noise
        with precision():
            context = self.network.embed_condition(condition).repeat(draws, 1)
            predicted = self.network.denoise(noisy, self.network.embed_step(steps), context)
        return F.mse_loss(predicted.float(), self._target(clean, noise, signal, spread))

    def _target(self, clean: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
        """What the network is to predict.

        The velocity is signal · noise − spread · clean (Salimans & Ho 2022, "Progressive
        Distillation", appendix D).
        """
        if self.params.prediction == "sample":
            return clean
        if self.params.prediction == "epsilon":
            return noise
        return signal * noise - spread * clean

    def denoise_step(
        self,
        noisy: Tensor,
        step_embedding: Tensor,
        coefficients: Tensor,
        context: Tensor,
        fresh: Tensor | None = None,
    ) -> Tensor:
        """One step of the sampler.

        Args:
            noisy: shape (B, H, A).
            step_embedding: the network's, shape (1, E).
            coefficients: a row of `SamplerTable`, shape (5,).
            context: the network's, shape (B, E).
            fresh: noise of this step, shape (B, H, A); DDPM alone takes some.

        Returns:
            The chunk at the step before, shape (B, H, A).
        """
        output = self.network.denoise(noisy, step_embedding, context)
        return self.advance(output, noisy, coefficients, fresh)

    def advance(
        self, output: Tensor, noisy: Tensor, coefficients: Tensor, fresh: Tensor | None = None
    ) -> Tensor:
        """What the sampler makes of the network's output.

        Args:
            output: shape (B, H, A).
            noisy: what the network saw, shape (B, H, A).
            coefficients: a row of `SamplerTable`, shape (5,).
            fresh: noise of this step, shape (B, H, A); DDPM alone takes some.

        Returns:
            The chunk at the step before, shape (B, H, A).
        """
        from_output, from_noisy, keep, blend, spread = coefficients.unbind()
        if self.params.prediction != "sample":
            output = from_output * output + from_noisy * noisy
        clean = output.clamp(-self.params.clip, self.params.clip)
        following = keep * noisy + blend * clean
        return following if fresh is None else following + spread * fresh

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Sample a chunk of actions; the same noise gives the same chunk.

        Args:
            obs: raw observations, shape (B, T, S).
            noise: standard normal, shape (B, H, A).

        Returns:
            Absolute joint positions, rad, shape (B, H, A); row 0 is the next command.
        """
        context = self.network.embed_condition(self.condition(obs))
        embeddings = self.network.embed_step(self.steps)
        chunk = noise
        for index in range(self.params.num_inference_steps):
            row, fresh = embeddings[index : index + 1], None
            if self.params.sampler == "ddpm":
                fresh = rearranged(noise, self.shuffles[index])
            chunk = self.denoise_step(chunk, row, self.table[index], context, fresh)
        return self.codec.decode(chunk, self.current_joints(obs))


def rearranged(noise: Tensor, order: Tensor) -> Tensor:
    """The numbers of a chunk's noise (B, H, A) in another order (H · A,); see `shuffles`."""
    return noise.flatten(1).index_select(1, order).reshape(noise.shape)

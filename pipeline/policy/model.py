"""The policy as one module: features, normalisation, network and diffusion.

Training, sampling and export use this one module, so that all three agree. Shapes: B observations,
T history steps, S numbers of an observation (the state, then 12 for each obstacle that the policy
can see), H horizon, A action numbers, D noise draws of an observation.
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
from pipeline.policy.diffusion import SamplerTable, noise_levels
from pipeline.policy.features import FeatureError, ObservationFeatures, VectorFeatures
from pipeline.policy.networks.mlp import build_network
from pipeline.policy.normalizer import ActionCodec, MinMax
from pipeline.policy.obstacle_features import ObstacleFeatures
from pipeline.policy.onnx_parts import OnnxParts, onnx_parts

FIT_CHUNK = 16384
"""Windows in a batch when ranges are measured; bounds the memory."""


class PolicyModel(nn.Module):
    """From raw observations to absolute joint positions, and the loss that trains it.

    With a generic layout (no arm) the features are the state itself and the actions plain numbers.

    The flow is one line: observation → features → normaliser → network → action codec. The state
    dictionary holds weights and ranges; the schedule follows from the parameters.
    """

    signal: Tensor
    noise: Tensor
    steps: Tensor
    table: Tensor

    def __init__(self, params: PolicyParams, layout: Layout, geometry: Geometry | None) -> None:
        """Build an untrained policy whose normalisers are the identity.

        Args:
            params: section policy.
            layout: the meaning of states and actions.
            geometry: of arm and object; None for a generic layout.

        Raises:
            FeatureError: the state lacks an input of the policy, or actions are to be relative to
                the joints of an arm that is not there.
            NetworkError: the network cannot have these dimensions.
        """
        super().__init__()
        self.params, self.layout, self.geometry = params, layout, geometry
        self.features: ObservationFeatures | VectorFeatures
        if geometry is None:
            if params.actions == "relative":
                raise FeatureError("without an arm policy.actions must be absolute, not relative")
            self.joints, self.features = slice(0, 0), VectorFeatures(layout)
        else:
            self.joints = layout.field("joint_pos").slice
            self.features = ObservationFeatures(params, layout, geometry)
        self.scale = MinMax((self.features.num_features,))
        condition = params.n_obs_steps * self.features.num_features
        self.around: ObstacleFeatures | None = None
        if geometry is not None and geometry.obstacles is not None:
            self.around = ObstacleFeatures(geometry.chain, layout.joints, geometry.obstacles)
            condition += self.around.num_features
        scale_rad = params.action_scale_rad if params.actions == "relative" else None
        self.codec = ActionCodec(
            params.horizon, layout.action_dim, scale_rad, one_range=geometry is None
        )
        self.network = build_network(params, layout.action_dim, condition)
        signal, noise = noise_levels(params.sampler, params.num_train_steps)
        table = SamplerTable.build(
            params.sampler, params.num_train_steps, params.num_inference_steps, params.prediction
        )
        self.start = table.start
        constants = {
            "signal": torch.from_numpy(signal).float(),
            "noise": torch.from_numpy(noise).float(),
            "steps": torch.from_numpy(table.steps.copy()),
            "table": torch.from_numpy(table.rows()),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def fit(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        perturb: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        """Measure the normalisers' ranges on batches of training windows.

        Args:
            batches: raw observations (B, T, S) and actions (B, H, A), rad; perturbed in place.
            perturb: the perturbation of raw observations and actions in training.

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
        """Joints of the newest observation, rad: (B, T, S) to (B, J); J is 0 without an arm."""
        return obs[:, -1, self.joints]

    def condition(self, obs: Tensor) -> Tensor:
        """Normalised features of all history steps, and obstacles: (B, T, S) to (B, C)."""
        features = self.features(obs)
        seen = self.scale.normalize(features).flatten(1)
        if self.around is None:
            return seen
        obstacles = obs[:, -1, self.layout.state_dim :]
        goal = features[:, -1, self.features.goal] if self.features.goal is not None else None
        around = self.around(self.current_joints(obs), obstacles, goal)
        return torch.cat((seen, around), dim=1)

    def loss(
        self,
        obs: Tensor,
        action: Tensor,
        noise: Tensor,
        steps: Tensor,
    ) -> Tensor:
        """Mean squared error of the prediction (Ho et al. 2020, Algorithm 1).

        Several noise draws share one observation, whose embedding is computed once. Draw d of
        observation b is in row d · B + b.

        Args:
            obs: raw observations, shape (B, T, S).
            action: absolute joint positions, rad, shape (B, H, A).
            noise: standard normal, shape (D · B, H, A).
            steps: diffusion steps, integers from 0, shape (D · B,).

        Returns:
            A scalar.
        """
        clean = self.codec.encode(action, self.current_joints(obs))
        return self.denoising_loss(self.condition(obs), clean, noise, steps)

    def denoising_loss(
        self,
        condition: Tensor,
        clean: Tensor,
        noise: Tensor,
        steps: Tensor,
        precision: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> Tensor:
        """Compute `loss` from prepared conditions and actions: the part that has a gradient.

        Args:
            condition: normalised features, shape (B, C).
            clean: actions as the codec encodes them, shape (B, H, A).
            noise: standard normal, shape (D · B, H, A).
            steps: diffusion steps, integers from 0, shape (D · B,).
            precision: makes the context in which the network runs; features, normalisation and the
                loss stay in float32, which resolves a millimetre in a metre.

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
        """The network's target.

        The velocity is signal · noise − spread · clean (Salimans & Ho 2022, "Progressive
        Distillation", appendix D).
        """
        if self.params.prediction == "sample":
            return clean
        if self.params.prediction == "epsilon":
            return noise
        return signal * noise - spread * clean

    def denoise_step(
        self, chunk: Tensor, step_embedding: Tensor, coefficients: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run one step of the sampler.

        Args:
            chunk: noisy actions in network units, shape (B, H, A).
            step_embedding: the network's, shape (1, E).
            coefficients: a row of `SamplerTable`, shape (4,).
            context: the network's, shape (B, E).

        Returns:
            The network's prediction and the chunk at the next step, shape (B, H, A) each.
        """
        from_output, from_noisy, keep, blend = coefficients.unbind()
        output = self.network.denoise(chunk, step_embedding, context)
        clean = output
        if self.params.prediction != "sample":
            clean = from_output * output + from_noisy * chunk
        clean = clean.clamp(-self.params.clip, self.params.clip)
        return output, keep * chunk + blend * clean

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
        chunk = noise if self.start == 1.0 else self.start * noise
        for embedding, coefficients in zip(torch.split(embeddings, 1), self.table, strict=True):
            _, chunk = self.denoise_step(chunk, embedding, coefficients, context)
        return self.codec.decode(chunk, self.current_joints(obs))

    def as_onnx(self) -> OnnxParts:
        """The parts of the exported graph, with the names and examples of their inputs."""
        return onnx_parts(self)

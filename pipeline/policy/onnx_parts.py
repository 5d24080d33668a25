"""What a policy exports: its modules, and the names, shapes and examples of their inputs.

Everything that depends on the policy is here; `pipeline.export.graph` puts the parts together.

Shapes: B batch, T history steps, S state numbers, H horizon, A action numbers, K inference steps,
C condition numbers, E numbers of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.obstacles import COLUMNS

if TYPE_CHECKING:
    from pipeline.policy.model import PolicyModel

EXAMPLE_BATCH = 3
"""Batch size of the examples: a number above 1 that no other dimension has."""


@dataclass(frozen=True)
class OnnxModule:
    """A module that is exported by itself."""

    module: nn.Module
    inputs: dict[str, Tensor]
    """An example of each input by its name, in the order of the module's arguments."""
    outputs: tuple[str, ...]
    """Names of what the module returns."""


@dataclass(frozen=True)
class OnnxParts:
    """The parts of the whole graph: inputs → context, K denoising steps, chunk → outputs."""

    observation: OnnxModule
    """From `obs` to `context`, and from `obs` and `denoised` to `action`."""
    step: OnnxModule
    """From `chunk` and a row of each table to `next_chunk`."""
    start: float
    """The first chunk is this times `noise`."""
    tables: dict[str, tuple[str, Tensor]]
    """Constants by name: the input of the step that takes a row, and the K rows, one per step."""
    inputs: dict[str, tuple[int, ...]]
    """Shapes of the graph's inputs without the batch axis, by name."""
    outputs: dict[str, tuple[int, ...]]
    """Shapes of the graph's outputs without the batch axis, by name."""

    @property
    def num_steps(self) -> int:
        """Inference steps, K."""
        return len(next(iter(self.tables.values()))[1])


class _Observation(nn.Module):
    """Everything outside the denoising: observation to context, denoised chunk to rad."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, obs: Tensor, denoised: Tensor, obstacles: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if obstacles is not None:
            around = obstacles.flatten(1).unsqueeze(1).expand(-1, obs.shape[1], -1)
            obs = torch.cat((obs, around), dim=2)
        condition = self.model.condition(obs)
        action = self.model.codec.decode(denoised, self.model.current_joints(obs))
        return condition, self.model.network.embed_condition(condition), action


class _Step(nn.Module):
    """One denoising step."""

    def __init__(self, model: PolicyModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, chunk: Tensor, step_embedding: Tensor, coefficients: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.model.denoise_step(chunk, step_embedding, coefficients, context)


@torch.no_grad()
def onnx_parts(model: PolicyModel) -> OnnxParts:
    """The parts of a policy's graph.

    Args:
        model: a trained policy, on the CPU.
    """
    params, layout = model.params, model.layout
    observation_shape = (params.n_obs_steps, layout.state_dim)
    chunk_shape = (params.horizon, layout.action_dim)
    obs, chunk = (
        torch.ones(EXAMPLE_BATCH, *observation_shape),
        torch.zeros(EXAMPLE_BATCH, *chunk_shape),
    )
    given = {"obs": obs, "denoised": chunk}
    shapes: dict[str, tuple[int, ...]] = {"obs": observation_shape, "noise": chunk_shape}
    if model.around is not None:
        shapes["obstacles"] = (model.around.slots, COLUMNS)
        given["obstacles"] = torch.ones(EXAMPLE_BATCH, *shapes["obstacles"])
    observation = _Observation(model)
    context = observation(*given.values())[1]
    embeddings = model.network.embed_step(model.steps)
    example = {
        "chunk": chunk,
        "step_embedding": embeddings[:1],
        "coefficients": model.table[0],
        "context": context,
    }
    return OnnxParts(
        OnnxModule(observation, given, ("condition", "context", "action")),
        OnnxModule(_Step(model), example, ("prediction", "next_chunk")),
        model.start,
        {
            "step_embeddings": ("step_embedding", embeddings.unsqueeze(1)),
            "step_coefficients": ("coefficients", model.table),
        },
        shapes,
        {"action": chunk_shape},
    )

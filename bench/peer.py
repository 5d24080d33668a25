"""LeRobot's diffusion model with the same U-Net as ours, where LeRobot is installed."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.params import PolicyParams
from pipeline.run import console

FEATURES = 27
"""Number of features of one observation in our default configuration."""


def lerobot_model(policy: PolicyParams, device: str = "cpu") -> Any | None:
    """An untrained `DiffusionModel`; prints a note and returns None if LeRobot is not installed.

    Args:
        policy: sizes of the U-Net and of a chunk, number of sampling steps (DDIM).
        device: cpu or cuda.
    """
    try:
        from lerobot.configs.types import FeatureType, PolicyFeature
        from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
        from lerobot.policies.diffusion.modeling_diffusion import DiffusionModel
    except ImportError as error:
        console.print(f"LeRobot is left out: {error}; see bench/requirements.txt")
        return None
    config = DiffusionConfig(
        n_obs_steps=policy.n_obs_steps,
        horizon=policy.horizon,
        n_action_steps=8,
        down_dims=policy.unet_channels,
        kernel_size=policy.unet_kernel,
        n_groups=policy.unet_groups,
        diffusion_step_embed_dim=policy.step_embedding,
        use_film_scale_modulation=True,
        noise_scheduler_type="DDIM",
        num_inference_steps=policy.num_inference_steps,
        device=device,
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (6,)),
            "observation.environment_state": PolicyFeature(FeatureType.ENV, (FEATURES - 6,)),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (6,))},
    )
    return DiffusionModel(config).to(device)


def lerobot_batch(policy: PolicyParams, batch: int, device: str = "cpu") -> dict[str, torch.Tensor]:
    """A made-up batch in the form that LeRobot's model takes.

    Args:
        policy: determines the shapes.
        batch: number of windows.
        device: cpu or cuda.
    """
    made = {
        "observation.state": torch.randn(batch, policy.n_obs_steps, 6),
        "observation.environment_state": torch.randn(batch, policy.n_obs_steps, FEATURES - 6),
        "action": torch.rand(batch, policy.horizon, 6) * 2 - 1,
        "action_is_pad": torch.zeros(batch, policy.horizon, dtype=torch.bool),
    }
    return {name: values.to(device) for name, values in made.items()}

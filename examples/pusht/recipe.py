"""Push-T: what differs from params.yaml. The protocol is Diffusion Policy's (Chi et al. 2023).

Without mirror images (`examples.pusht.mirror`) the MLP overfits after a quarter of the epochs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.params import Params, load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"
RATE_HZ = 10.0
CHANGES: dict[str, dict[str, Any]] = {
    # 18 numbers of nine key points on the block, then the position of the agent, pixels.
    "dataset": {"layout": "generic", "state_arrays": ["keypoint", "state[0:2]"],
                "val_fraction": 0.02, "test_fraction": 0.0},
    "policy": {"horizon": 16, "n_obs_steps": 2, "mlp_width": 384, "num_inference_steps": 10},
    "train": {"num_epochs": 60, "batch_size": 128, "noise_draws": 1, "lr": 1e-3,
              "save_freq": 2, "threads": 1},
    "execution": {"mode": "chunk", "execute_steps": 8, "noise_scale": 1.0, "guard": "off"},
}  # fmt: skip


def params() -> Params:
    """params.yaml with the changes."""
    loaded = load_params(PARAMS)
    for section, changes in CHANGES.items():
        loaded = loaded.override(section, **changes)
    return loaded

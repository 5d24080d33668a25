"""Writes examples/rail_arm.yaml: params.yaml for another arm, whose first of seven joints slides.

    python -m examples.rail_arm

Everything but the lines below is as params.yaml has it; a test says when the file is out of date.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

SOURCE = Path("params.yaml")
TARGET = Path("examples/rail_arm.yaml")
HEAD = "# Written by `python -m examples.rail_arm` out of params.yaml: change either of those.\n"
CHANGES: dict[str, dict[str, Any]] = {
    "robot": {
        "urdf": "assets/rail_arm.urdf",
        "srdf": "assets/rail_arm.srdf",
        "base_link": "rail_base",
        "joints": ["rail", "pan", "lift", "elbow", "roll", "bend", "turn"],
        "tip_link": "palm",
        # The rail's numbers are m, m/s², N/m and kg.
        "home_rad": [0.0, 0.0, -0.2, 1.5, 0.0, 1.5, 0.0],
        "acceleration_limits_rad_s2": [1.5, 2.0, 2.0, 2.5, 4.0, 4.0, 4.0],
        "servo": {
            "kp": [40000.0, 6000.0, 6000.0, 4000.0, 1500.0, 1500.0, 800.0],
            "armature_kg_m2": [5.0, 1.5, 1.5, 1.0, 0.3, 0.3, 0.2],
        },
        "gripper": {"fingers": ["finger_left", "finger_right"],
                    "closing": [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]},
    },
    "collect": {"still_joints": []},
    "ingest": {"object_frames": ["rail_base"]},
}  # fmt: skip


def text() -> str:
    """params.yaml with the changes, its comments kept."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100
    data = yaml.load(SOURCE.read_text())
    for section, changes in CHANGES.items():
        _change(data[section], changes)
    stream = io.StringIO()
    yaml.dump(data, stream)
    return HEAD + stream.getvalue()


def _change(data: Any, changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _change(data[key], value)
        elif isinstance(value, list):
            data[key][:] = value
        else:
            data[key] = value


if __name__ == "__main__":
    TARGET.write_text(text())

"""A second arm with other properties: sliding and continuous joints, a base off the origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.params import Params, RobotParams
from pipeline.robot.model import RobotModel

LINK = """<link name="{name}">
  <inertial><origin xyz="{middle} 0 0"/><mass value="1"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>
  <collision><origin xyz="{middle} 0 0"/><geometry><sphere radius="0.04"/></geometry></collision>
</link>"""
JOINT = """<joint name="{name}" type="{kind}">
  <parent link="{parent}"/><child link="{child}"/>
  <origin xyz="{xyz}"/><axis xyz="{axis}"/>
  <limit lower="{lower}" upper="{upper}" velocity="2" effort="50"/>
</joint>"""


def _joint(name: str, kind: str, parent: str, child: str, xyz: str, axis: str, range_: str) -> str:
    lower, upper = range_.split()
    return JOINT.format(
        name=name,
        kind=kind,
        parent=parent,
        child=child,
        xyz=xyz,
        axis=axis,
        lower=lower,
        upper=upper,
    )


@pytest.fixture(scope="session")
def crane_urdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cart on a rail, a continuous turntable on it, a boom that tilts, a hand with a finger."""
    parts = [
        '<robot name="crane"><mujoco><compiler fusestatic="false"/></mujoco><link name="world"/>',
        *(
            LINK.format(name=name, middle=middle)
            for name, middle in (("rail", 0), ("cart", 0), ("table", 0), ("boom", 0.2), ("hand", 0))
        ),
        LINK.format(name="finger", middle=0.1),
        _joint("foot", "fixed", "world", "rail", "0 0.3 0.5", "1 0 0", "0 0"),
        _joint("slide", "prismatic", "rail", "cart", "0 0 0", "1 0 0", "-1 1"),
        _joint("turn", "continuous", "cart", "table", "0 0 0.3", "0 0 1", "0 0"),
        _joint("dip", "revolute", "table", "boom", "0 0 0", "0 1 0", "-1.2 1.2"),
        _joint("wrist", "fixed", "boom", "hand", "0.4 0 0", "1 0 0", "0 0"),
        _joint("grip", "revolute", "hand", "finger", "0 0 0", "0 0 1", "-1 1"),
        "</robot>",
    ]
    path = tmp_path_factory.mktemp("crane") / "crane.urdf"
    path.write_text("\n".join(parts))
    path.with_suffix(".srdf").write_text(
        '<robot name="crane">\n'
        + "\n".join(
            f'<disable_collisions link1="{a}" link2="{b}" reason="Adjacent"/>'
            for a, b in (("rail", "cart"), ("cart", "table"), ("table", "boom"))
        )
        + "</robot>"
    )
    return path


@pytest.fixture(scope="session")
def crane(params: Params, crane_urdf: Path) -> RobotParams:
    """The section `robot` for the crane, with joints in another order than along the chain."""
    return params.override(
        "robot",
        urdf=crane_urdf,
        srdf=crane_urdf.with_suffix(".srdf"),
        base_link="rail",
        tip_link="hand",
        joints=("dip", "turn", "slide"),
        home_rad=(0.2, 0.0, 0.1),
        acceleration_limits_rad_s2=(2.0, 2.0, 2.0),
        servo={"kp": (900.0,) * 3, "damping_ratio": 1.0, "armature_kg_m2": (0.1,) * 3},
    ).robot


@pytest.fixture(scope="session")
def arm(params: Params) -> RobotModel:
    """The arm of the repository."""
    return RobotModel.from_params(params.robot)

"""Reads what ingest accepted and rejected, with the motion of rejected trajectories where possible.

T samples, J joints.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode
from pipeline.dataset.episode_store import read_episodes
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.play.motion import Motion
from pipeline.recordings.joint_names import find_joints
from pipeline.recordings.recording import Candidate
from pipeline.recordings.sources import read_candidates
from pipeline.validation.build_episode import object_place
from pipeline.validation.rules import Rejected

Array = NDArray[np.float64]
ACCEPTED = "accepted"
GAP_S = 0.1
"""Assumed distance of points whose recorded times do not rise, s."""


class EpisodesError(PipelineError):
    """A folder of ingest is missing or cannot be read."""


@dataclass(frozen=True)
class Trajectory:
    """One accepted or rejected trajectory of a recording."""

    source: str
    message: int | None
    """Index of the message; None for the whole recording."""
    segment: int | None
    episode: Episode | None
    """The episode; None if the trajectory was rejected."""
    reasons: tuple[str, ...]
    """Codes with what was found, what was expected and what to do."""
    codes: tuple[str, ...]


def read_trajectories(folder: Path, params: Params) -> list[Trajectory]:
    """Read the result of ingest: accepted episodes first, in their order, then rejected ones.

    Args:
        folder: folder that ingest wrote.
        params: sections robot and task.

    Raises:
        EpisodesError: report.json is missing or is not one of ingest.
        PipelineError: episodes.zarr is missing or damaged, or was made for another arm or object.
    """
    report = _report(folder / "report.json")
    warnings: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in report["warnings"]:
        key = entry["source"], entry["message"], entry["segment"]
        warnings.setdefault(key, []).append({**entry, "hint": report["hints"][entry["code"]]})
    found = []
    episodes = read_episodes(folder / "episodes.zarr", params.robot.joints, params.task.object)
    for episode in episodes:
        origin = episode.provenance
        key = origin.source, origin.message, origin.segment
        found.append(_trajectory(*key, episode, warnings.get(key, ())))
    for entry in report["rejections"]:
        key = entry["source"], entry["message"], entry["segment"]
        found.append(_trajectory(*key, None, [entry]))
    return found


def _trajectory(
    source: str,
    message: int | None,
    segment: int | None,
    episode: Episode | None,
    findings: Iterable[dict[str, Any]],
) -> Trajectory:
    listed = list(findings)
    reasons = tuple(
        f"{entry['code']}: {entry['value']}, expected {entry['limit']}; {entry['hint']}"
        for entry in listed
    )
    codes = tuple(entry["code"] for entry in listed)
    return Trajectory(source, message, segment, episode, reasons, codes)


def groups(trajectories: list[Trajectory]) -> dict[str, list[Trajectory]]:
    """Group trajectories for a list: accepted, rejected, and each code alone.

    Args:
        trajectories: all of them.

    Returns:
        Trajectories by label. A label tells the number; groups without a trajectory are left out.
    """
    accepted = [each for each in trajectories if each.episode is not None]
    rejected = [each for each in trajectories if each.episode is None]
    found = {f"{ACCEPTED} ({len(accepted)})": accepted, f"rejected ({len(rejected)})": rejected}
    for code, number in Counter(code for each in trajectories for code in each.codes).most_common():
        having = [each for each in trajectories if code in each.codes]
        kind = "rejected" if having[0].episode is None else "warning"
        found[f"{code}, {kind} ({number})"] = having
    return {label: listed for label, listed in found.items() if listed}


class MotionReader:
    """Finds the motion of a trajectory: its episode, or what the recording holds."""

    def __init__(self, params: Params, trajectories: list[Trajectory]) -> None:
        """Note which messages were rejected.

        Args:
            params: all parameters, as ingest used them.
            trajectories: all of them.
        """
        self._params = params
        self._wanted: dict[str, set[int]] = {}
        for each in trajectories:
            if each.episode is None and each.message is not None:
                self._wanted.setdefault(each.source, set()).add(each.message)
        self._read: dict[str, dict[int, Candidate]] = {}

    def is_ready(self, trajectory: Trajectory) -> bool:
        """Whether `motion` answers at once, without reading a recording.

        Args:
            trajectory: one of those given before.
        """
        return trajectory.episode is not None or trajectory.source in self._read

    def motion(self, trajectory: Trajectory) -> Motion | str:
        """Return the motion, or the reason why it cannot be drawn.

        Args:
            trajectory: one of those given before.
        """
        episode = trajectory.episode
        if episode is not None:
            pose = episode.object_pos, episode.object_axis
            return Motion(episode.t, episode.joint_pos, pose, (), episode.obstacles)
        if trajectory.message is None:
            return "concerns the recording as a whole"
        if trajectory.source not in self._read:
            self._read[trajectory.source] = self._candidates(trajectory.source)
        candidate = self._read[trajectory.source].get(trajectory.message)
        if candidate is None:
            return f"message {trajectory.message} of {trajectory.source} cannot be read"
        return self._draw(candidate)

    def _candidates(self, source: str) -> dict[int, Candidate]:
        """Read the rejected motions of a recording by their message."""
        wanted = self._wanted.get(source, set())
        found: dict[int, Candidate] = {}
        if not Path(source).exists():
            return found
        for item in read_candidates(Path(source), self._params, salvage=True):
            if isinstance(item, Candidate) and item.plan.message in wanted:
                found.setdefault(item.plan.message, item)
            if len(found) == len(wanted):
                break
        return found

    def _draw(self, candidate: Candidate) -> Motion | str:
        rules, joints = self._params.ingest, self._params.robot.joints
        parts: list[tuple[Array, Array]] = []
        for segment in candidate.plan.segments:
            columns, why = find_joints(segment.joint_names, joints, rules.joint_prefix)
            if columns is None:
                return f"its joints cannot be matched: {why}"
            finite = np.isfinite(segment.t) & np.isfinite(segment.joint_pos).all(axis=1)
            parts.append((segment.t[finite], segment.joint_pos[finite][:, columns]))
        joint_pos = np.concatenate([part for _, part in parts]) if parts else np.zeros((0, 1))
        if not len(joint_pos):
            return "no point of it is finite"
        ends = np.cumsum([0.0, *(t[-1] if len(t) else 0.0 for t, _ in parts)])
        times = np.concatenate([t + end for (t, _), end in zip(parts, ends, strict=False)])
        if (np.diff(times) < 0).any() or not times.any():
            times = np.arange(len(times)) * GAP_S
        try:
            place = object_place(candidate.object_pose, candidate.plan.log_time_ns, rules)
        except Rejected:
            place = None
        return Motion(times - times[0], joint_pos, place)


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not {"rejections", "warnings", "hints"} <= report.keys():
            raise ValueError("it lacks rejections, warnings or hints")
    except (OSError, ValueError, AttributeError) as error:
        raise EpisodesError(
            f"{path}: {error}; expected the report.json that ingest writes: run ingest, or name "
            "its folder with --recording"
        ) from error
    return dict(report)

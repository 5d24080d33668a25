"""Counts accepted and rejected trajectories, and makes the report of ingest. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.episode import Episode
from pipeline.recordings.recording import Source
from pipeline.validation.build_episode import Result
from pipeline.validation.findings import BAD_FILES, HINTS, Finding
from pipeline.validation.multimodality import Modes, find_modes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SourceCount:
    """Counts of one recording."""

    source: Source
    accepted: int
    rejected: int
    codes: dict[str, int]
    """Rejections and warnings by their code."""


@dataclass
class IngestReport:
    """The results of all recordings so far, without the episodes."""

    rejections: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    warned: int = 0
    sources: list[SourceCount] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    speeds_rad_s: list[float] = field(default_factory=list)
    obstacles: list[int] = field(default_factory=list)
    """Number of obstacles of each accepted episode."""
    _seen: dict[bytes, tuple[int, str]] = field(default_factory=dict)
    """Content hash of each accepted episode, and its message and source."""
    _ends: array[float] = field(default_factory=lambda: array("d"))
    """Last joints, last TCP pose, and the object of each accepted episode, one after the other:
    copies, since a view would keep the whole episode in memory."""
    _before: tuple[int, int, int] = (0, 0, 0)
    """Accepted, rejected and warnings before the current recording."""

    @property
    def accepted(self) -> int:
        """Number of accepted episodes."""
        return len(self.samples)

    @property
    def rejected(self) -> int:
        """Number of rejected trajectories, messages and files."""
        return len(self.rejections)

    @property
    def duplicates(self) -> int:
        """Number of rejected trajectories that equal an accepted one."""
        return sum(finding.code == "DUPLICATE" for finding in self.rejections)

    @property
    def bad_files(self) -> list[Finding]:
        """Files that could not be read, or not to their end."""
        return [finding for finding in self.rejections if finding.code in BAD_FILES]

    def add(self, result: Result, source: Source) -> Episode | None:
        """Add a result; returns its episode, or None if it has none or the episode is a duplicate.

        Args:
            result: of one trajectory.
            source: its recording.
        """
        episode = result.episode
        if episode is None:
            self.rejections += result.findings
            return None
        key, message = bytes.fromhex(episode.content_hash), episode.provenance.message
        if key in self._seen:
            other, where = self._seen[key]
            value = f"the same as message {other} of {where}"
            limit = "an episode of its own"
            segment = episode.provenance.segment
            self.rejections.append(
                Finding("DUPLICATE", source.path, message, segment, value, limit)
            )
            return None
        self._seen[key] = message, source.path
        self.warnings += result.findings
        self.warned += bool(result.findings)
        self.samples.append(len(episode.t))
        self.durations_s.append(episode.duration_s)
        self.speeds_rad_s.append(float(np.abs(episode.joint_vel).max()))
        self.obstacles.append(len(episode.obstacles))
        place = (episode.object_pos, episode.object_axis)
        end = np.concatenate([episode.joint_command[-1], episode.ee_pose[-1], *place])
        self._ends.frombytes(end.tobytes())
        return episode

    def finish_source(self, source: Source) -> None:
        """Count the results since the last recording as those of this one.

        Args:
            source: the recording.
        """
        accepted, rejected, warned = self._before
        new = self.rejections[rejected:] + self.warnings[warned:]
        codes = dict(sorted(Counter(finding.code for finding in new).items()))
        self.sources.append(
            SourceCount(source, self.accepted - accepted, self.rejected - rejected, codes)
        )
        self._before = (self.accepted, self.rejected, len(self.warnings))

    def most_common(self, number: int) -> list[tuple[str, int]]:
        """The most frequent codes of rejections with their numbers.

        Args:
            number: how many codes.
        """
        return Counter(finding.code for finding in self.rejections).most_common(number)

    def example(self, code: str) -> str:
        """Value and limit of the first rejection of a code.

        Args:
            code: one that occurred.
        """
        finding = next(finding for finding in self.rejections if finding.code == code)
        return f"{finding.value}, expected {finding.limit}"

    def reasons(self, number: int) -> str:
        """The most frequent rejections with an example and a hint for each.

        Args:
            number: how many codes.
        """
        return "; ".join(
            f"{count} × {code} (for instance {self.example(code)}; {HINTS[code]})"
            for code, count in self.most_common(number)
        )

    def modes(
        self,
        joints: tuple[str, ...],
        fk: Callable[[Array], Array],
        neighbours: int,
        gap_rad: float,
    ) -> Modes | None:
        """The number of ways of the accepted episodes to similar goals; None without episodes.

        Args:
            joints: names of the J joints.
            fk: forward kinematics, joint positions (N, J) to poses (N, 7).
            neighbours: episodes with the nearest objects to compare each to.
            gap_rad: ends further apart than this in some joint are different ways, rad.
        """
        if not self._ends:
            return None
        table = np.array(self._ends).reshape(self.accepted, -1)
        ends, ee_ends, objects = np.split(table, [len(joints), len(joints) + 7], axis=1)
        return find_modes(joints, ends, ee_ends, objects, fk, neighbours, gap_rad)

    def to_dict(self, modes: Modes | None, state: str, versions: dict[str, str]) -> dict[str, Any]:
        """The JSON form.

        Args:
            modes: result of `modes`.
            state: `ingest.state`.
            versions: of the libraries used.
        """
        findings = self.rejections + self.warnings
        return {
            "totals": {
                "accepted": self.accepted,
                "warned": self.warned,
                "rejected": self.rejected,
            },
            "codes": dict(sorted(Counter(finding.code for finding in findings).items())),
            "sources": [
                {
                    "source": count.source.path,
                    "sha256": count.source.sha256,
                    "storage": count.source.storage,
                    "salvaged": count.source.salvaged,
                    "accepted": count.accepted,
                    "rejected": count.rejected,
                    "codes": count.codes,
                }
                for count in self.sources
            ],
            "samples": _spread(self.samples),
            "duration_s": _spread(self.durations_s),
            "peak_speed_rad_s": _spread(self.speeds_rad_s),
            **({"obstacles": self._obstacles()} if any(self.obstacles) else {}),
            "modes": None if modes is None else modes.to_dict(),
            "state": state,
            "rejections": [
                {**asdict(finding), "hint": HINTS[finding.code]} for finding in self.rejections
            ],
            "warnings": [asdict(finding) for finding in self.warnings],
            "hints": {code: HINTS[code] for code in sorted({f.code for f in findings})},
            "versions": versions,
        }

    def _obstacles(self) -> dict[str, int]:
        """How many episodes have obstacles, and the largest number in one."""
        return {
            "episodes": sum(number > 0 for number in self.obstacles),
            "most": max(self.obstacles),
        }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "sum": round(float(np.sum(values)), 6),
        "min": round(float(np.min(values)), 6),
        "median": round(float(np.median(values)), 6),
        "max": round(float(np.max(values)), 6),
    }

"""Stage ingest: recordings in, episodes and a report of what was taken and left out.

A bad trajectory never loses the rest; a recording that is mostly bad fails the stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from pipeline.data.assemble import Arm, Verdict, assemble
from pipeline.data.episode import Episode
from pipeline.data.episodes import EpisodeWriter
from pipeline.data.findings import HINTS, Finding
from pipeline.data.recording import Candidate, Source, Unreadable
from pipeline.data.sources import (
    Broken,
    count_plans,
    describe_source,
    find_recordings,
    read_candidates,
)
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, track, versions, write_json


class IngestError(PipelineError):
    """Recordings hold too little that a policy could learn from."""


@dataclass
class _Tally:
    """What was taken and left out so far."""

    rejections: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    warned: int = 0
    sources: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    """Content hash of each accepted episode, and where it stands."""
    samples: list[int] = field(default_factory=list)
    durations_s: list[float] = field(default_factory=list)
    speeds_rad_s: list[float] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return len(self.samples)

    @property
    def rejected(self) -> int:
        return len(self.rejections)

    def take(self, verdict: Verdict, source: Source) -> Episode | None:
        """Note a verdict; returns the episode where it is one and not the twin of another."""
        episode = verdict.episode
        if episode is None:
            self.rejections += verdict.findings
            return None
        key, message = episode.content_hash, episode.provenance.message
        if key in self.seen:
            value, limit = f"the same as {self.seen[key]}", "an episode of its own"
            twin = Finding("DUPLICATE", source.path, message, None, value, limit)
            self.rejections.append(twin)
            return None
        self.seen[key] = f"message {message} of {source.path}"
        self.warnings += verdict.findings
        self.warned += bool(verdict.findings)
        self.samples.append(len(episode.t))
        self.durations_s.append(episode.duration_s)
        self.speeds_rad_s.append(float(np.abs(episode.joint_vel).max()))
        return episode

    def commonest(self, number: int) -> list[tuple[str, int]]:
        return Counter(finding.code for finding in self.rejections).most_common(number)


def run(params: Params, out: Path, source: Path | None = None) -> None:
    """Read recordings into `out`/episodes.zarr and `out`/report.json.

    Args:
        params: all parameters.
        out: folder to write; untouched when the stage fails.
        source: recordings; `ingest.source` by default.

    Raises:
        IngestError: nothing was accepted, or more than `ingest.max_reject_fraction` rejected.
        PipelineError: there is no recording, or the robot's description is wrong.
    """
    recordings = find_recordings(params.ingest.source if source is None else source)
    robot = RobotModel.from_params(params.robot)
    arm = Arm(robot.joints, robot.lower, robot.upper, robot.ee_path)
    tally = _Tally()
    with output_folder(out) as folder:
        writer = EpisodeWriter(folder / "episodes.zarr", arm.joints, params.task.object)
        verdicts = _verdicts(recordings, arm, params, tally)
        total = sum(count_plans(path) for path in recordings)
        for episode in track(verdicts, "Ingesting", total):
            if episode is not None:
                writer.add(episode)
        _refuse_poor(tally, params, recordings)
        writer.close()
        write_json(folder / "report.json", _report(tally, params))
    _print(tally, out)


def _verdicts(
    recordings: list[Path], arm: Arm, params: Params, tally: _Tally
) -> Iterator[Episode | None]:
    """One item a trajectory: its episode, or None where it was left out."""
    for path in recordings:
        source = describe_source(path)
        accepted, rejected = tally.accepted, tally.rejected
        for item in read_candidates(path, params):
            yield tally.take(_judge(item, source, arm, params), source)
        tally.sources.append(
            {
                "source": source.path,
                "sha256": source.sha256,
                "storage": source.storage,
                "accepted": tally.accepted - accepted,
                "rejected": tally.rejected - rejected,
            }
        )


def _judge(
    item: Candidate | Unreadable | Broken, source: Source, arm: Arm, params: Params
) -> Verdict:
    match item:
        case Candidate():
            return assemble(item, source, arm, params.ingest)
        case Unreadable():
            finding = Finding(
                item.code, source.path, item.message, None, item.value, "a message of its type"
            )
        case Broken():
            finding = Finding(item.code, source.path, None, None, item.value, "a whole recording")
    return Verdict(None, (finding,))


def _refuse_poor(tally: _Tally, params: Params, recordings: list[Path]) -> None:
    total = tally.accepted + tally.rejected
    reasons = "; ".join(
        f"{number} × {code} (for instance {_example(tally, code)}; {HINTS[code]})"
        for code, number in tally.commonest(3)
    )
    where = recordings[0] if len(recordings) == 1 else f"{len(recordings)} recordings"
    if tally.accepted == 0:
        raise IngestError(f"{where}: none of {total} trajectories accepted: {reasons}")
    limit = params.ingest.max_reject_fraction
    if tally.rejected > limit * total:
        raise IngestError(
            f"{where}: {tally.rejected} of {total} trajectories rejected, expected at most a share "
            f"of {limit} (ingest.max_reject_fraction): {reasons}"
        )


def _example(tally: _Tally, code: str) -> str:
    finding = next(finding for finding in tally.rejections if finding.code == code)
    return f"{finding.value}, expected {finding.limit}"


def _report(tally: _Tally, params: Params) -> dict[str, Any]:
    return {
        "totals": {
            "accepted": tally.accepted,
            "warned": tally.warned,
            "rejected": tally.rejected,
        },
        "codes": dict(sorted(Counter(f.code for f in tally.rejections + tally.warnings).items())),
        "sources": tally.sources,
        "samples": _spread(tally.samples),
        "duration_s": _spread(tally.durations_s),
        "peak_speed_rad_s": _spread(tally.speeds_rad_s),
        "state": params.ingest.state,
        "rejections": [finding.to_dict() for finding in tally.rejections],
        "warnings": [finding.to_dict() for finding in tally.warnings],
        "versions": versions("numpy", "rosbags", "zarr", "pin"),
    }


def _spread(values: list[int] | list[float]) -> dict[str, float]:
    return {
        "sum": round(float(np.sum(values)), 6),
        "min": round(float(np.min(values)), 6),
        "median": round(float(np.median(values)), 6),
        "max": round(float(np.max(values)), 6),
    }


def _print(tally: _Tally, out: Path) -> None:
    table = Table(title=f"Ingested into {out}", title_justify="left")
    for column in ("Trajectories", "Number", "Why"):
        table.add_column(column, justify="right" if column == "Number" else "left")
    table.add_row("accepted", str(tally.accepted), f"{sum(tally.samples)} samples")
    for code, number in Counter(finding.code for finding in tally.warnings).most_common():
        table.add_row(f"  {code}", str(number), f"taken with a warning: {HINTS[code]}")
    table.add_row("rejected", str(tally.rejected), f"listed in {out / 'report.json'}")
    for code, number in tally.commonest(len(HINTS)):
        table.add_row(f"  {code}", str(number), HINTS[code])
    console.print(table)

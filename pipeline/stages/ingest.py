"""Stage ingest: recordings in, episodes and a report of what was taken and left out.

A bad trajectory never loses the rest; a recording that is mostly bad fails the stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.table import Table

from pipeline.data.assemble import Arm
from pipeline.data.episode import Episode
from pipeline.data.episodes import EpisodeWriter
from pipeline.data.findings import HINTS
from pipeline.data.harvest import harvest
from pipeline.data.modes import Modes
from pipeline.data.pictures import draw_histograms
from pipeline.data.sources import count_plans, describe_source, find_recordings
from pipeline.data.tally import Tally
from pipeline.errors import PipelineError
from pipeline.kinematics import ForwardKinematics
from pipeline.params import Params
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, track, versions, write_json

# Recordings with a row of their own in the terminal; report.json has them all.
_SHOWN = 20


class IngestError(PipelineError):
    """Recordings hold too little that a policy could learn from."""


def run(params: Params, out: Path, source: Path | Iterable[Path] | None = None) -> None:
    """Read recordings into `out`/episodes.zarr, `out`/report.json and `out`/histograms.png.

    Args:
        params: all parameters.
        out: folder to write; untouched when the stage fails.
        source: recordings; `ingest.source` by default.

    Raises:
        IngestError: nothing was accepted, more than `ingest.max_reject_fraction` rejected, or a
            file could not be read and `ingest.allow_bad_files` is not set.
        PipelineError: there is no recording, or the robot's description is wrong.
    """
    rules = params.ingest
    recordings = find_recordings(rules.source if source is None else source)
    robot = RobotModel.from_params(params.robot)
    arm = arm_of(robot)
    tally = Tally()
    with output_folder(out) as folder:
        writer = EpisodeWriter(folder / "episodes.zarr", arm.joints, params.task.object)
        total = sum(count_plans(path) for path in recordings)
        for episode in track(_episodes(recordings, arm, params, tally), "Ingesting", total):
            if episode is not None:
                writer.add(episode)
        _refuse_poor(tally, params, recordings)
        writer.close()
        modes = tally.modes(arm.joints, arm.fk, rules.mode_neighbours, rules.mode_gap_rad)
        libraries = versions("numpy", "rosbags", "mcap", "zarr", "pin")
        write_json(folder / "report.json", tally.report(modes, rules.state, libraries))
        draw_histograms(
            folder / "histograms.png", tally.samples, tally.durations_s, tally.speeds_rad_s
        )
    _print(tally, modes, out)


def _episodes(
    recordings: list[Path], arm: Arm, params: Params, tally: Tally
) -> Iterator[Episode | None]:
    """One item a trajectory: its episode, or None where it was left out."""
    for path in recordings:
        source = describe_source(path, salvage=params.ingest.salvage)
        for verdict in harvest(source, arm, params):
            yield tally.take(verdict, source)
        tally.close_source(source)


def _refuse_poor(tally: Tally, params: Params, recordings: list[Path]) -> None:
    bad = tally.bad_files
    if bad and not params.ingest.allow_bad_files:
        first = f"{bad[0].value}; {HINTS[bad[0].code]}"
        more = "" if len(bad) == 1 else f" (and {len(bad) - 1} more, such as {bad[1].source})"
        raise IngestError(
            f"{len(bad)} of {len(recordings)} recordings cannot be read: {first}{more}. Mend or "
            "remove them, or set ingest.allow_bad_files to go on without them"
        )
    total = tally.accepted + tally.rejected
    where = recordings[0] if len(recordings) == 1 else f"{len(recordings)} recordings"
    if tally.accepted == 0:
        raise IngestError(f"{where}: none of {total} trajectories accepted: {tally.reasons(3)}")
    limit = params.ingest.max_reject_fraction
    if tally.rejected > limit * total:
        raise IngestError(
            f"{where}: {tally.rejected} of {total} trajectories rejected, expected at most a share "
            f"of {limit} (ingest.max_reject_fraction): {tally.reasons(3)}"
        )


def _print(tally: Tally, modes: Modes | None, out: Path) -> None:
    if len(tally.sources) > 1:
        console.print(_sources_table(tally))
    table = Table(title=f"Ingested into {out}", title_justify="left")
    for column in ("Trajectories", "Number", "Why"):
        table.add_column(column, justify="right" if column == "Number" else "left")
    table.add_row("accepted", str(tally.accepted), f"{sum(tally.samples)} samples")
    for code, number in Counter(finding.code for finding in tally.warnings).most_common():
        table.add_row(f"  {code}", str(number), f"taken with a warning: {HINTS[code]}")
    table.add_row("rejected", str(tally.rejected), f"listed in {out / 'report.json'}")
    for code, number in tally.commonest(len(HINTS)):
        why = f"{HINTS[code]} (for instance {tally.example(code)})"
        table.add_row(f"  {code}", str(number), why)
    console.print(table)
    if modes is not None:
        console.print(
            f"Ways to similar goals: {modes.verdict} (gripper turned by "
            f"{modes.yaw_spread_deg:.0f}° about its own axis between neighbours)"
        )


def _sources_table(tally: Tally) -> Table:
    table = Table(title="Recordings", title_justify="left")
    for column in ("Recording", "Storage", "Accepted", "Rejected", "Findings"):
        table.add_column(column, justify="right" if column.endswith("ed") else "left")
    for count in tally.sources[:_SHOWN]:
        codes = ", ".join(f"{number} × {code}" for code, number in count.codes.items())
        storage = count.source.storage + (" (salvaged)" if count.source.salvaged else "")
        numbers = (str(count.accepted), str(count.rejected))
        table.add_row(count.source.path, storage, *numbers, codes)
    left = len(tally.sources) - _SHOWN
    if left > 0:
        table.add_row(f"… and {left} more", "", "", "", "")
    return table


def arm_of(robot: RobotModel) -> Arm:
    """What judging trajectories needs to know of a robot.

    Args:
        robot: the arm.
    """
    fk = ForwardKinematics(kinematic_chain(robot), robot.joints, robot.home)
    return Arm(robot.joints, robot.lower, robot.upper, robot.continuous, fk)

"""Stage ingest: recordings in, episodes and a report of what was taken and left out.

A bad trajectory never loses the rest; a recording that is mostly bad fails the stage.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
from rich.table import Table

from pipeline.dataset.episode_store import EpisodeWriter
from pipeline.errors import PipelineError
from pipeline.hashing import sha256_file
from pipeline.kinematics import ForwardKinematics
from pipeline.machine import available_cores
from pipeline.params import Params
from pipeline.processes import in_processes
from pipeline.recordings.recording import Source
from pipeline.recordings.sources import find_recordings
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, state_root, track, versions, write_json
from pipeline.validation.build_episode import Arm, Verdict
from pipeline.validation.cache import Shelf, fill_shard, make_room, make_shelf, pass_on, take
from pipeline.validation.executors import in_ray, make_shards
from pipeline.validation.findings import HINTS
from pipeline.validation.multimodality import Modes
from pipeline.validation.plots import draw_histograms
from pipeline.validation.report import Tally

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
    with output_folder(out) as folder, _shelf(params, arm, folder) as shelf:
        writer = EpisodeWriter(folder / "episodes.zarr", arm.joints, params.task.object)
        with closing(_harvests(recordings, arm, params, shelf)) as harvests:
            for source_read, batches in track(harvests, "Ingesting", len(recordings)):
                for verdict in chain.from_iterable(batches):
                    episode = tally.take(verdict, source_read)
                    if episode is not None:
                        writer.add(episode)
                tally.close_source(source_read)
        _refuse_poor(tally, params, recordings)
        writer.close()
        modes = tally.modes(arm.joints, arm.fk, rules.mode_neighbours, rules.mode_gap_rad)
        libraries = versions("numpy", "rosbags", "mcap", "zarr", "pin")
        write_json(folder / "report.json", tally.report(modes, rules.state, libraries))
        draw_histograms(
            folder / "histograms.png", tally.samples, tally.durations_s, tally.speeds_rad_s, modes
        )
    _print(tally, modes, out)


@contextmanager
def _shelf(params: Params, arm: Arm, folder: Path) -> Iterator[Shelf]:
    """Where verdicts pass from workers to here, and stay for the next run if they may."""
    urdf = sha256_file(params.robot.urdf)
    limit_gb = params.ingest.cache_gb
    if limit_gb > 0:
        root = state_root("ingest")
        yield make_shelf(root, params, arm, urdf)
        make_room(root, limit_gb)
        return
    with tempfile.TemporaryDirectory(prefix=".verdicts-", dir=folder) as passing:
        yield make_shelf(Path(passing), params, arm, urdf)


def _harvests(
    recordings: list[Path], arm: Arm, params: Params, shelf: Shelf
) -> Generator[tuple[Source, Iterator[list[Verdict]]], None, None]:
    """What each recording gives, in order, whoever reads it."""
    rules = params.ingest
    workers = rules.workers or available_cores()
    shards = make_shards(recordings)
    if rules.engine == "process" and min(workers, len(shards)) == 1:
        for path in recordings:
            yield pass_on(shelf, path, arm, params)
        return
    work = partial(fill_shard, shelf, shards, arm, params)
    if rules.engine == "ray":
        filled: Iterator[list[tuple[Source, Path]]] = in_ray(work, len(shards))
    else:
        processes = in_processes(work, workers, [fill_shard.__module__])
        filled = islice(processes, len(shards))
    try:
        for shard in filled:
            for source, file in shard:
                yield source, take(shelf, source, file, arm, params)
    finally:
        if rules.engine == "process":
            processes.close()


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
    # Copies of good demonstrations say nothing against the recordings.
    failed, judged = tally.rejected - tally.duplicates, total - tally.duplicates
    if failed > limit * judged:
        raise IngestError(
            f"{where}: {failed} of {judged} trajectories rejected, expected at most a share "
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
    listed = f"listed in {out / 'report.json'}" if tally.rejected else ""
    table.add_row("rejected", str(tally.rejected), listed)
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
    chain = kinematic_chain(robot)
    slides = {joint.name for joint in chain.joints if joint.motion == "prismatic"}
    sliding = np.array([name in slides for name in robot.joints])
    fk = ForwardKinematics(chain, robot.joints, robot.home)
    return Arm(robot.joints, robot.lower, robot.upper, robot.continuous, sliding, fk)

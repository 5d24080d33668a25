"""Stage ingest: turns recordings into episodes, and reports what was accepted and rejected.

One bad trajectory does not affect the others. The stage fails if too many are bad.
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
from pipeline.processes import in_shards
from pipeline.recordings.recording import Source
from pipeline.recordings.sources import find_recordings
from pipeline.robot.chain import kinematic_chain
from pipeline.robot.model import RobotModel
from pipeline.run import console, output_folder, state_root, track, versions, write_json
from pipeline.validation.build_episode import Arm, Result
from pipeline.validation.cache import (
    ResultCache,
    cache_shard,
    load_results,
    open_cache,
    remove_oldest,
    stream_results,
)
from pipeline.validation.findings import HINTS
from pipeline.validation.multimodality import Modes
from pipeline.validation.plots import draw_histograms
from pipeline.validation.report import IngestReport
from pipeline.validation.shards import make_shards

# Recordings with a row of their own in the terminal; report.json has them all.
_SHOWN = 20


class IngestError(PipelineError):
    """Too few trajectories of the recordings can be used."""


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
    report = IngestReport()
    with output_folder(out) as folder, _result_cache(params, arm, folder) as cache:
        writer = EpisodeWriter(folder / "episodes.zarr", arm.joints, params.task.object)
        with closing(_results_by_recording(recordings, arm, params, cache)) as results:
            for recording, batches in track(results, "Ingesting", len(recordings)):
                for result in chain.from_iterable(batches):
                    episode = report.add(result, recording)
                    if episode is not None:
                        writer.add(episode)
                report.finish_source(recording)
        _require_enough(report, params, recordings)
        writer.close()
        modes = report.modes(arm.joints, arm.fk, rules.mode_neighbours, rules.mode_gap_rad)
        libraries = versions("numpy", "rosbags", "mcap", "zarr", "pin")
        write_json(folder / "report.json", report.to_dict(modes, rules.state, libraries))
        draw_histograms(
            folder / "histograms.png",
            report.samples,
            report.durations_s,
            report.speeds_rad_s,
            modes,
        )
    _print(report, modes, out)


@contextmanager
def _result_cache(params: Params, arm: Arm, folder: Path) -> Iterator[ResultCache]:
    """The folder through which workers hand over results; kept if `ingest.cache_gb` allows it."""
    urdf = sha256_file(params.robot.urdf)
    limit_gb = params.ingest.cache_gb
    if limit_gb > 0:
        root = state_root("ingest")
        yield open_cache(root, params, arm, urdf)
        remove_oldest(root, limit_gb)
        return
    with tempfile.TemporaryDirectory(prefix=".results-", dir=folder) as temporary:
        yield open_cache(Path(temporary), params, arm, urdf)


def _results_by_recording(
    recordings: list[Path], arm: Arm, params: Params, cache: ResultCache
) -> Generator[tuple[Source, Iterator[list[Result]]], None, None]:
    """The results of each recording, in order, read by this process or by workers."""
    rules = params.ingest
    workers = rules.workers or available_cores()
    shards = make_shards(recordings)
    if rules.engine == "process" and min(workers, len(shards)) == 1:
        for path in recordings:
            yield stream_results(cache, path, arm, params)
        return
    work = partial(cache_shard, cache, shards, arm, params)
    preload = [cache_shard.__module__]
    with closing(in_shards(work, rules.engine, workers, preload, fresh=False)) as files:
        for shard in islice(files, len(shards)):
            for source, file in shard:
                yield source, load_results(cache, source, file, arm, params)


def _require_enough(report: IngestReport, params: Params, recordings: list[Path]) -> None:
    bad = report.bad_files
    if bad and not params.ingest.allow_bad_files:
        first = f"{bad[0].value}; {HINTS[bad[0].code]}"
        more = "" if len(bad) == 1 else f" (and {len(bad) - 1} more, such as {bad[1].source})"
        raise IngestError(
            f"{len(bad)} of {len(recordings)} recordings cannot be read: {first}{more}. Repair or "
            "remove them, or set ingest.allow_bad_files to go on without them"
        )
    total = report.accepted + report.rejected
    where = recordings[0] if len(recordings) == 1 else f"{len(recordings)} recordings"
    if report.accepted == 0:
        raise IngestError(f"{where}: none of {total} trajectories accepted: {report.reasons(3)}")
    limit = params.ingest.max_reject_fraction
    # Copies of good demonstrations are no sign of bad recordings.
    failed, counted = report.rejected - report.duplicates, total - report.duplicates
    if failed > limit * counted:
        raise IngestError(
            f"{where}: {failed} of {counted} trajectories rejected, expected at most a share "
            f"of {limit} (ingest.max_reject_fraction): {report.reasons(3)}"
        )


def _print(report: IngestReport, modes: Modes | None, out: Path) -> None:
    if len(report.sources) > 1:
        console.print(_sources_table(report))
    table = Table(title=f"Ingested into {out}", title_justify="left")
    for column in ("Trajectories", "Number", "Why"):
        table.add_column(column, justify="right" if column == "Number" else "left")
    table.add_row("accepted", str(report.accepted), f"{sum(report.samples)} samples")
    if any(report.obstacles):
        around = str(sum(number > 0 for number in report.obstacles))
        table.add_row("  with obstacles", around, f"at most {max(report.obstacles)} in one")
    for code, number in Counter(finding.code for finding in report.warnings).most_common():
        table.add_row(f"  {code}", str(number), f"taken with a warning: {HINTS[code]}")
    listed = f"listed in {out / 'report.json'}" if report.rejected else ""
    table.add_row("rejected", str(report.rejected), listed)
    for code, number in report.most_common(len(HINTS)):
        why = f"{HINTS[code]} (for instance {report.example(code)})"
        table.add_row(f"  {code}", str(number), why)
    console.print(table)
    if modes is not None:
        console.print(
            f"Ways to similar goals: {modes.verdict} (gripper turned by "
            f"{modes.yaw_spread_deg:.0f}° about its own axis between neighbours)"
        )


def _sources_table(report: IngestReport) -> Table:
    table = Table(title="Recordings", title_justify="left")
    for column in ("Recording", "Storage", "Accepted", "Rejected", "Findings"):
        table.add_column(column, justify="right" if column.endswith("ed") else "left")
    for count in report.sources[:_SHOWN]:
        codes = ", ".join(f"{number} × {code}" for code, number in count.codes.items())
        storage = count.source.storage + (" (salvaged)" if count.source.salvaged else "")
        numbers = (str(count.accepted), str(count.rejected))
        table.add_row(count.source.path, storage, *numbers, codes)
    left = len(report.sources) - _SHOWN
    if left > 0:
        table.add_row(f"… and {left} more", "", "", "", "")
    return table


def arm_of(robot: RobotModel) -> Arm:
    """The properties of a robot that validation needs.

    Args:
        robot: the arm.
    """
    chain = kinematic_chain(robot)
    slides = {joint.name for joint in chain.joints if joint.motion == "prismatic"}
    sliding = np.array([name in slides for name in robot.joints])
    fk = ForwardKinematics(chain, robot.joints, robot.home)
    return Arm(robot.joints, robot.lower, robot.upper, robot.continuous, sliding, fk)

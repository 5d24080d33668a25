"""Validates one recording: reads it and gives a result for each of its trajectories.

Knows nothing of other recordings, nor of where the episodes are written.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.params import Params
from pipeline.recordings.recording import Candidate, Source, Unreadable
from pipeline.recordings.sources import Broken, read_candidates
from pipeline.validation.build_batch import build_results
from pipeline.validation.build_episode import Arm, Result
from pipeline.validation.findings import Finding

_EXPECTED = {
    "BAG_EMPTY": "plans, a controller's state or joint states",
    "JOINT_MISSING": "all of robot.joints",
    "TYPE_UNKNOWN": "the type of its role, in CDR",
}


def validate_recording(source: Source, arm: Arm, params: Params) -> Iterator[list[Result]]:
    """Results for every trajectory of a recording, in its order, batch by batch.

    Args:
        source: the recording, as `describe_source` gives it.
        arm: joints, limits, forward kinematics.
        params: all parameters.

    Raises:
        DefinitionError: `ingest.msg_path` holds a definition that cannot be read.
    """
    yield from build_results(_items(source, params), source, arm, params.ingest)


def _items(source: Source, params: Params) -> Iterator[Candidate | Result]:
    silent = True
    for item in read_candidates(source.file, params, salvage=source.salvaged):
        silent = False
        match item:
            case Candidate():
                yield item
            case Unreadable():
                yield _rejection(item.code, source, item.message, item.value)
            case Broken():
                yield _rejection(item.code, source, None, item.value)
    if silent:
        yield _rejection("BAG_EMPTY", source, None, f"{source.path}: no motion in it")


def _rejection(code: str, source: Source, message: int | None, value: str) -> Result:
    limit = _EXPECTED.get(code, "a whole recording" if message is None else "a message of its type")
    return Result(None, (Finding(code, source.path, message, None, value, limit),))

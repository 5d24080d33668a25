"""One recording in, verdicts on all that it holds out: what a worker does. Pure but for reading.

Knows nothing of other recordings, of what was accepted before, nor of where episodes go.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.params import Params
from pipeline.recordings.recording import Candidate, Source, Unreadable
from pipeline.recordings.sources import Broken, read_candidates
from pipeline.validation.build_batch import judge
from pipeline.validation.build_episode import Arm, Verdict
from pipeline.validation.findings import Finding

_EXPECTED = {
    "BAG_EMPTY": "plans, a controller's state or joint states",
    "JOINT_MISSING": "all of robot.joints",
    "TYPE_UNKNOWN": "the type of its role, in CDR",
}


def harvest(source: Source, arm: Arm, params: Params) -> Iterator[list[Verdict]]:
    """Verdicts on every trajectory of a recording, in its order, as many as are judged at once.

    Args:
        source: the recording, as `describe_source` gives it.
        arm: joints, limits, forward kinematics.
        params: all parameters.

    Raises:
        DefinitionError: `ingest.msg_path` holds a definition that cannot be read.
    """
    yield from judge(_items(source, params), source, arm, params.ingest)


def _items(source: Source, params: Params) -> Iterator[Candidate | Verdict]:
    silent = True
    for item in read_candidates(source.file, params, salvage=source.salvaged):
        silent = False
        match item:
            case Candidate():
                yield item
            case Unreadable():
                yield _left_out(item.code, source, item.message, item.value)
            case Broken():
                yield _left_out(item.code, source, None, item.value)
    if silent:
        yield _left_out("BAG_EMPTY", source, None, f"{source.path}: no motion in it")


def _left_out(code: str, source: Source, message: int | None, value: str) -> Verdict:
    limit = _EXPECTED.get(code, "a whole recording" if message is None else "a message of its type")
    return Verdict(None, (Finding(code, source.path, message, None, value, limit),))

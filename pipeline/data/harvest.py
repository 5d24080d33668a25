"""One recording in, verdicts on all that it holds out: what a worker does. Pure but for reading.

Knows nothing of other recordings, of what was accepted before, nor of where episodes go.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.data.assemble import Arm, Verdict, assemble
from pipeline.data.findings import Finding
from pipeline.data.recording import Candidate, Source, Unreadable
from pipeline.data.sources import Broken, read_candidates
from pipeline.params import Params


def harvest(source: Source, arm: Arm, params: Params) -> Iterator[Verdict]:
    """Verdicts on every trajectory of a recording, in its order.

    Args:
        source: the recording, as `describe_source` gives it.
        arm: joints, limits, forward kinematics.
        params: all parameters.

    Raises:
        DefinitionError: `ingest.msg_path` holds a definition that cannot be read.
    """
    for item in read_candidates(source.file, params, salvage=source.salvaged):
        match item:
            case Candidate():
                yield from assemble(item, source, arm, params.ingest)
            case Unreadable():
                finding = Finding(
                    item.code, source.path, item.message, None, item.value, "a message of its type"
                )
                yield Verdict(None, (finding,))
            case Broken():
                finding = Finding(
                    item.code, source.path, None, None, item.value, "a whole recording"
                )
                yield Verdict(None, (finding,))

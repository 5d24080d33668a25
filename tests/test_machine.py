"""The machine names itself, and a process counts the cores that it may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.machine import available_cores, processor

REPOSITORY = Path(__file__).parents[1]


def test_the_processor_has_a_name() -> None:
    assert processor().strip()


def test_cores_are_those_that_the_process_may_use() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from pipeline.machine import available_cores; print(available_cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"

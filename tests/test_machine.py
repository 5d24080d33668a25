"""The processor has a name, and only the cores that a process may use are counted."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.machine import available_cores, processor

REPOSITORY = Path(__file__).parents[1]


def test_the_processor_has_a_name() -> None:
    assert processor().strip()


def test_the_affinity_limits_the_cores() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from pipeline.machine import available_cores; print(available_cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu.max": "1600000 100000"}, 8),
        ({}, 8),
    ],
)
def test_the_quota_of_a_container_limits_the_cores(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert available_cores(tmp_path) == cores


PRINT_FEATURES = (
    "from numpy._core._multiarray_umath import __cpu_features__ as found; import os;"
    "print(found['X86_V4'], os.environ.get('OPENBLAS_CORETYPE'))"
)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs choose other code")
@pytest.mark.parametrize(
    ("first", "expected"),
    [("", "False Haswell"), ("import numpy;", None)],
    ids=["before NumPy", "after NumPy"],
)
def test_rounding_is_fixed_before_numpy_is_imported(first: str, expected: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "NPY"))}

    def features(code: str) -> str:
        command = [sys.executable, "-W", "error", "-c", code + PRINT_FEATURES]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU has no AVX2, so its rounding stays its own")
    fixed = features(first + "from pipeline.machine import fix_rounding; fix_rounding();")
    assert fixed == (expected or features(""))

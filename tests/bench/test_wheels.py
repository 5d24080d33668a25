"""Wheels become smaller, install with pip alone, and still hold what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from bench.wheels import slim
from tests.conftest import REPOSITORY

LIBRARY = b"ELF \0libx.so.6\0 code"
FILES = {
    "few/__init__.py": b"NUMBER = 7",
    "cmeel.prefix/lib/libx.so": LIBRARY,
    "cmeel.prefix/lib/libx.so.6": LIBRARY,
    "cmeel.prefix/lib/libx.so.6.0.5": LIBRARY,
    "cmeel.prefix/lib/libx.a": b"static",
    "cmeel.prefix/lib/python3.12/site-packages/x/x.so": b"ELF",
    "cmeel.prefix/include/x.hpp": b"header",
    "cmeel.prefix/bin/x": b"program",
    "few-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: few\nVersion: 1.0\n",
    "few-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def test_a_slim_wheel_installs_and_holds_one_copy_of_each_library(tmp_path: Path) -> None:
    wheel = tmp_path / "few-1.0-py3-none-any.whl"
    record = "".join(f"{name},,\n" for name in [*FILES, "few-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**FILES, "few-1.0.dist-info/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    slim(wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        listed = archive.read("few-1.0.dist-info/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in listed} == names
    assert names == set(FILES) - {
        "cmeel.prefix/lib/libx.so", "cmeel.prefix/lib/libx.so.6.0.5", "cmeel.prefix/lib/libx.a",
        "cmeel.prefix/include/x.hpp", "cmeel.prefix/bin/x",
    } | {"few-1.0.dist-info/RECORD"}  # fmt: skip
    script = (
        "import os, sys; from pathlib import Path; from bench.gpu.__main__ import install\n"
        f"install(Path({str(tmp_path)!r}), Path({str(tmp_path / 'target')!r}))\n"
        "import few; print(few.NUMBER, 'target' in os.environ['PYTHONPATH'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.stdout == "7 True\n", done.stderr

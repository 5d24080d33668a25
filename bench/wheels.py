"""Fetch the wheels that `bench.gpu` needs on a machine without a network.

    python -m bench.wheels FOLDER --python 3.12

Runs `pip download` for bench/gpu/requirements.txt and constraints.txt, and takes out of the wheels
what nothing imports (headers, static libraries, programs, copies of libraries under other names):
half of them remains.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PLATFORMS = ("2_28", "2_27", "2_17", "2_5")
"""glibc versions that wheels for Linux may ask for."""


def fetch(folder: Path, python: str) -> None:
    """Download the wheels.

    Args:
        folder: where they go.
        python: version of the other machine, for instance 3.12.

    Raises:
        SystemExit: pip found no wheel for a package.
    """
    platforms = [f"--platform=manylinux_{number}_x86_64" for number in PLATFORMS]
    old = [f"--platform=manylinux{name}_x86_64" for name in ("2014", "1")]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        f"--python-version={python}", "--implementation=cp", *platforms, *old,
        "-r", str(HERE / "gpu" / "requirements.txt"), "-c", str(HERE.parent / "constraints.txt"),
        "-d", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit("error: pip found no wheel for one of bench/gpu/requirements.txt; see above")


def is_needed(name: str, content: bytes) -> bool:
    """Whether a file of a wheel is used when its package is imported.

    A library lies in a wheel once for each of its names: `libx.so`, `libx.so.6`, `libx.so.6.0.5`.
    The loader asks for the one that the library holds as its own (ELF's DT_SONAME).

    Args:
        name: of the file.
        content: of the file.
    """
    parts = name.split("/")
    if parts[0] == "cmeel.prefix":
        if parts[1] in ("include", "bin", "share") or "cmake" in parts or "pkgconfig" in parts:
            return False
        if parts[1] == "lib" and len(parts) == 3 and ".so" in name:
            return f"\0{parts[2]}\0".encode() in content
    return not name.endswith((".a", ".hpp", ".hxx"))


def slim(wheel: Path) -> None:
    """Rewrite a wheel with what is needed.

    Args:
        wheel: the file.
    """
    with zipfile.ZipFile(wheel) as old:
        every = {name: old.read(name) for name in old.namelist()}
        kept = {name: content for name, content in every.items() if is_needed(name, content)}
        partial = wheel.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
            for name, content in kept.items():
                lines = content.decode().splitlines(True) if name.endswith("info/RECORD") else []
                listed = "".join(line for line in lines if line.split(",")[0] in kept)
                new.writestr(old.getinfo(name), listed or content, zipfile.ZIP_DEFLATED)
    partial.replace(wheel)


def main() -> None:
    """Fetch and slim."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version of the other machine")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    fetch(options.folder, options.python)
    for wheel in sorted(options.folder.glob("*.whl")):
        slim(wheel)
    size = sum(wheel.stat().st_size for wheel in options.folder.glob("*.whl"))
    print(f"{options.folder}: {size / 1e6:.0f} MB of wheels")


if __name__ == "__main__":
    main()

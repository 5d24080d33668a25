"""Mutation testing: `make mutants ROOM=pipeline/release` breaks code and runs the room's tests.

mutmut makes the mutants and runs the room's tests that reach each of them, in a copy of the
repository below .state/mutants. It mutates the bodies of functions without decorators, so it makes
none of module constants, defaults of dataclasses, or deleted statements.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

EQUIVALENT = Path("tests/mutants_equivalent.toml")
"""Mutants that no test can notice: file, line before, line after, and the reason."""
KILLED, SURVIVED = {1, 3, -24, 24, 36, 152, 255}, {0, 5, 33}
"""Exit codes that mutmut keeps: killed or out of time, and survived or reached by no test."""
CHILDREN = """import os
if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    os.environ["MUTANT_UNDER_TEST"] = ""
"""
"""Module sitecustomize: Python programs that tests start do not collect mutmut's statistics."""
MUTMUT = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()"]


def copy_repository(room: Path) -> Path:
    """Copy the repository's files and write mutmut's settings for a room.

    Args:
        room: for instance pipeline/release.

    Returns:
        The folder of the copy.
    """
    place = Path(".state/mutants") / room.name
    shutil.rmtree(place, ignore_errors=True)
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], text=True
    ).splitlines()
    for name in filter(os.path.isfile, listed):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, place / name)
    (place / "sitecustomize.py").write_text(CHILDREN)
    tests = [Path("tests", *room.parts[1:]), Path("tests/stages") / f"test_{room.name}.py"]
    settings = {
        "source_paths": ["pipeline"],
        "only_mutate": [f"{room}/*.py"],
        "also_copy": sorted(
            {name.partition("/")[0] for name in [*listed, "sitecustomize.py"]} - {"pipeline"}
        ),
        "pytest_add_cli_args_test_selection": [str(path) for path in tests if path.exists()],
    }
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    with (place / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(lines))
    return place


def list_mutants(room: Path) -> list[str]:
    """List the names of all mutants of a room; the working folder is the copy.

    Args:
        room: for instance pipeline/release.
    """
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    return [
        get_mutant_name(path, name)
        for path in sorted(room.rglob("*.py"))
        for name in mutate_file_contents(str(path), path.read_text()).mutant_names
    ]


def changed_lines(name: str) -> tuple[str, str, str]:
    """Return the file of a mutant, and its lines before and after.

    Args:
        name: of the mutant.
    """
    diff = subprocess.check_output([*MUTMUT, "show", name], text=True).splitlines()
    removed = [line[1:].strip() for line in diff if line.startswith("-") and line[:3] != "---"]
    added = [line[1:].strip() for line in diff if line.startswith("+") and line[:3] != "+++"]
    (file,) = [line.removeprefix("--- ") for line in diff if line.startswith("--- ")]
    return file, " ".join(removed), " ".join(added)


def main() -> None:
    """Sample mutants, test them, and print the table and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", type=Path)
    parser.add_argument("--number", type=int, default=200, help="mutants to sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    options = parser.parse_args()
    try:
        import mutmut  # noqa: F401
    except FileNotFoundError:
        pass  # it looks for its settings, which the copy has
    except ImportError:
        sys.exit("mutmut is not installed; pip install '.[mutants]'")
    if not (options.room / "__init__.py").is_file():
        sys.exit(f"{options.room}: not a room; expected for instance pipeline/release")
    equivalent = {
        (entry["file"], entry["before"], entry["after"])
        for entry in tomllib.loads(EQUIVALENT.read_text())["mutant"]
    }
    os.chdir(copy_repository(options.room))
    names = list_mutants(options.room)
    sample = sorted(random.Random(options.seed).sample(names, min(options.number, len(names))))
    command = [*MUTMUT, "run", "--max-children", str(options.jobs), *sample]
    if subprocess.run(command, check=False).returncode:
        sys.exit("mutmut stopped before it had tested the mutants; the reason is above")
    codes: dict[str, int | None] = {}
    for path in Path("mutants", options.room).rglob("*.meta"):
        codes |= json.loads(path.read_text())["exit_code_by_key"]
    found: Counter[str] = Counter()
    for name in sample:
        state = "killed" if codes[name] in KILLED else "survived"
        if codes[name] not in KILLED | SURVIVED:
            state = "unclear"
        lines = changed_lines(name) if state != "killed" else ("", "", "")
        if lines in equivalent:
            state = "equivalent"
        elif state != "killed":
            print(f"\n{state} ({codes[name]}): {name}\n- {lines[1]}\n+ {lines[2]}")
        found[state] += 1
    print(f"\n{options.room}, seed {options.seed}: {len(sample)} sampled of {len(names)}, "
          + ", ".join(f"{count} {state}" for state, count in sorted(found.items())))  # fmt: skip


if __name__ == "__main__":
    main()

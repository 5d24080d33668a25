"""Mutation testing: `make mutants ROOM=pipeline/release` breaks code and runs the room's tests.

mutmut makes the mutants and runs the tests that reach each of them, then the others of the same
files, in forks of one warm process and in a copy of the repository below .state/mutants. It mutates
the bodies of functions without decorators, so it makes none of module constants, defaults of
dataclasses, or deleted statements.
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
STATES = {0: "survived", 1: "killed", 3: "killed", 5: "survived", 33: "survived", 36: "timed out",
          -24: "timed out", 24: "timed out", 152: "timed out", 255: "timed out"}  # fmt: skip
"""By the exit code that mutmut keeps; 33 is for code that no test reaches."""
CHILDREN = """import os
if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    os.environ["MUTANT_UNDER_TEST"] = ""
"""
"""Module sitecustomize: Python programs that tests start do not collect mutmut's statistics."""
PROGRAM = """
from mutmut.__main__ import cli
from mutmut.state import state
from mutmut.workers.isolation import ForkRunner
# The statistics have just run the same tests without a mutant.
ForkRunner.run_clean_tests = lambda runner, tests: 0

# What a fixture of a module calls is counted to the first test that asks for it, and what runs in
# another process to none: all tests of the files are run, those that reach the mutant first.
class Tests(dict):
    def get(self, function, default):
        reached = dict.get(self, function, default)
        files = {test.partition("::")[0] for test in reached}
        if not files:
            room, _, module = function.rpartition(".x")[0].partition(".")[2].rpartition(".")
            files = {"/".join(filter(None, ["tests", *room.split("."), f"test_{module}.py"]))}
        known = (test for test in state().duration_by_test if test.partition("::")[0] in files)
        return list(dict.fromkeys([*reached, *known]))

startup = ForkRunner.startup
def start_with_files(runner):
    state().tests_by_mangled_function_name = Tests(state().tests_by_mangled_function_name)
    return startup(runner)

ForkRunner.startup = start_with_files
cli()
"""
MUTMUT = [sys.executable, "-c", PROGRAM]


def tests_of(part: Path) -> list[Path]:
    """List the tests of a folder or a module, by the names that they share.

    Args:
        part: for instance pipeline/release or pipeline/runtime/limiter.py.
    """
    mirrored = Path("tests", *part.parts[1:])
    stage = Path("tests/stages") / f"test_{part.name}.py"
    paths = [mirrored.with_name(f"test_{part.name}")] if part.suffix else [mirrored, stage]
    return [path for path in paths if path.exists()]


def copy_repository(room: list[Path]) -> Path:
    """Copy the repository's files and write mutmut's settings for a room.

    Args:
        room: folders and modules.

    Returns:
        The folder of the copy.
    """
    place = Path(".state/mutants") / "_".join(part.stem for part in room)
    shutil.rmtree(place, ignore_errors=True)
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], text=True
    ).splitlines()
    for name in filter(os.path.isfile, listed):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(name, place / name)
    (place / "sitecustomize.py").write_text(CHILDREN)
    tests = [path for part in room for path in tests_of(part)]
    settings = {
        "source_paths": ["pipeline"],
        "only_mutate": [str(part) if part.suffix else f"{part}/*.py" for part in room],
        "also_copy": sorted(
            {name.partition("/")[0] for name in [*listed, "sitecustomize.py"]} - {"pipeline"}
        ),
        "pytest_add_cli_args_test_selection": [str(path) for path in tests],
        # mutmut does not count how long fixtures take; a killed mutant ends sooner anyway.
        "timeout_constant": 30.0,
        "timeout_multiplier": 4.0,
    }
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    with (place / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(lines))
    return place


def list_mutants(room: list[Path]) -> list[str]:
    """List the names of all mutants of a room; the working folder is the copy.

    Args:
        room: folders and modules.
    """
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.format_utils import get_mutant_name

    return [
        get_mutant_name(path, name)
        for part in room
        for path in ([part] if part.suffix else sorted(part.rglob("*.py")))
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
    """Sample mutants, test them, and print the survivors and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", type=Path, nargs="+", help="folders and modules")
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
    for part in options.room:
        if not (part if part.suffix == ".py" else part / "__init__.py").is_file():
            sys.exit(f"{part}: no room; expected for instance pipeline/release or a module in it")
    equivalent = {
        (entry["file"], entry["before"], entry["after"])
        for entry in tomllib.loads(EQUIVALENT.read_text())["mutant"]
    }
    os.chdir(copy_repository(options.room))
    # Every mutant's run would trace the tests' policies again, for seconds each.
    os.environ["TEST_TRACES"] = str(Path("traces").resolve())
    names = list_mutants(options.room)
    sample = sorted(random.Random(options.seed).sample(names, min(options.number, len(names))))
    command = [*MUTMUT, "run", "--max-children", str(options.jobs), *sample]
    if subprocess.run(command, check=False).returncode:
        sys.exit("mutmut stopped before it had tested the mutants; the reason is above")
    codes: dict[str, int | None] = {}
    for path in Path("mutants/pipeline").rglob("*.meta"):
        codes |= json.loads(path.read_text())["exit_code_by_key"]
    found: Counter[str] = Counter()
    for name in sample:
        state = STATES.get(codes[name], f"unclear ({codes[name]})")
        if state != "killed":
            lines = changed_lines(name)
            state = "equivalent" if lines in equivalent else state
            if state != "equivalent":
                print(f"\n{state}: {name}\n- {lines[1]}\n+ {lines[2]}")
        found[state] += 1
    room = " ".join(map(str, options.room))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(found.items()))
    print(f"\n{room}, seed {options.seed}: {len(sample)} sampled of {len(names)}, {counts}")


if __name__ == "__main__":
    main()

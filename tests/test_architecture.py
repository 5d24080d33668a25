"""The house's rules: imports run down, stages' deps cover them, every parameter is read."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.params import Params
from tests import parameter_reads

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "pipeline"
PARAMS = PACKAGE / "params"
DVC: dict[str, Any] = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")
STAGES = list(DVC["stages"])
# Commands that are no stage: nothing depends on what they write.
TOOLS = {
    "info", "convert", "serve", "ros2", "record", "play", "doctor", "bench", "release", "sweep",
    "search",
}  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", cache_dir=None)


def test_imports_run_down() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def _file(module: str) -> Path:
    path = REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _closure(graph: grimp.ImportGraph, stage: str) -> set[Path]:
    modules: set[str] = set()
    waiting = {f"pipeline.stages.{stage}"}
    while waiting:
        module = waiting.pop()
        modules.add(module)
        # A module may also be named in a string: it then runs in a child process.
        named = set(re.findall(r'"(pipeline(?:\.\w+)+)"', _file(module).read_text()))
        waiting |= graph.find_upstream_modules(module) | (named & graph.modules)
        waiting -= modules
    return {_file(name).relative_to(REPOSITORY) for name in modules} - {
        # Docstrings alone: an edit of a package's first line must not retrain a policy.
        Path("pipeline/__init__.py"),
        Path("pipeline/stages/__init__.py"),
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_s_deps_are_its_import_closure(graph: grimp.ImportGraph, stage: str) -> None:
    declared = {Path(dep) for dep in DVC["stages"][stage]["deps"] if dep.startswith("pipeline")}
    needed = _closure(graph, stage)
    covered = {path for path in needed if {path, *path.parents} & declared}
    idle = {dep for dep in declared if not any(dep in {path, *path.parents} for path in needed)}
    assert sorted(needed - covered) == [], "an edit of these would rerun nothing: add to deps"
    assert sorted(idle) == [], "an edit of these would rerun the stage for nothing"


def test_modules_that_no_stage_depends_on_hold_no_code_of_a_stage() -> None:
    body = ast.parse((PACKAGE / "stages" / "__init__.py").read_text()).body
    assert len(body) == 1, "it is left out of every stage's deps, so it may hold no code"
    # The package's own may offer load_policy on demand, nothing else.
    script = "import sys, pipeline; print([n for n in sys.modules if n.startswith('pipeline.')])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "[]"
    defined = [node.name for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text()))
               if isinstance(node, ast.FunctionDef)]  # fmt: skip
    assert defined == ["__getattr__"]


def _sections_read(graph: grimp.ImportGraph, stage: str) -> set[str]:
    """Sections that a stage's closure reads as `params.train…`.

    layout.py is left out: it reads robot and task for whoever asks it to.
    """
    text = "\n".join(
        (REPOSITORY / path).read_text()
        for path in _closure(graph, stage)
        if PARAMS not in (REPOSITORY / path).parents and path.name != "layout.py"
    )
    return {
        name
        for name in Params.model_fields
        if re.search(rf"(?<!pipeline\.)\bparams\.{name}\b", text)
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_sections_it_reads(graph: grimp.ImportGraph, stage: str) -> None:
    declared = {name.partition(".")[0] for name in DVC["stages"][stage]["params"]}
    assert _sections_read(graph, stage) <= declared


def test_every_parameter_is_read_somewhere() -> None:
    assert sorted(parameter_reads.keys() - parameter_reads.reads(PACKAGE)) == []


def test_an_attribute_of_the_same_name_is_no_parameter_read(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(
        "class Noise:\n    seed: int\n"
        "def run(params: Params, noise: Noise) -> None:\n"
        "    train = params.train\n"
        "    print(noise.seed, noise.lr, train.num_epochs, params.override('collect').collect.ik)\n"
    )
    found = parameter_reads.reads(tmp_path) & parameter_reads.keys()
    assert found == {("TrainParams", "num_epochs"), ("CollectParams", "ik")}


def test_only_params_reads_the_parameter_file() -> None:
    readers = [path for path in PACKAGE.rglob("*.py") if "ruamel" in path.read_text()]
    assert [path.parent for path in readers] == [PARAMS]


def test_commands_stages_files_tests_and_parameters_share_their_names() -> None:
    from pipeline.cli import app

    commands = {command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    files = {path.stem for path in (PACKAGE / "stages").rglob("*.py")} - {"__init__"}
    tests = {
        path.stem.removeprefix("test_") for path in (REPOSITORY / "tests/stages").rglob("test_*")
    }
    makefile = re.search(r"^STAGES := (.*)$", (REPOSITORY / "Makefile").read_text(), re.M)
    assert makefile is not None
    assert commands - TOOLS == files - TOOLS == set(makefile[1].split()) == set(STAGES)
    assert commands == files <= tests
    assert set(STAGES) <= set(Params.model_fields)


def test_a_stage_writes_one_folder_with_its_name() -> None:
    for name, stage in DVC["stages"].items():
        assert stage["cmd"] == f"python -m pipeline {name}"
        assert stage["outs"] == [f"artifacts/{name}"]
        assert stage["desc"]


def test_every_equivalent_mutant_changes_a_line_that_is_there() -> None:
    listed = tomllib.loads((REPOSITORY / "tests" / "mutants_equivalent.toml").read_text())
    for entry in listed["mutant"]:
        lines = map(str.strip, (REPOSITORY / entry["file"]).read_text().splitlines())
        assert entry["before"] in lines, f"{entry['file']} has no line {entry['before']!r} any more"


def test_every_module_has_its_tests() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name.startswith("__") or path.stem in {"errors"}:
            continue
        relative = path.relative_to(PACKAGE)
        test = REPOSITORY / "tests" / relative.parent / f"test_{relative.name}"
        assert test.exists(), f"{relative} has no {test.relative_to(REPOSITORY)}"


def test_files_and_rooms_stay_small() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    modules = {path: length for path, length in lengths.items() if path.name != "__init__.py"}
    assert {path: length for path, length in lengths.items() if length > 300} == {}
    assert statistics.median(lengths.values()) <= 130
    # Of stages there are as many as commands.
    rooms = Counter(path.parent for path in modules if path.parent != PACKAGE / "stages")
    assert {room: number for room, number in rooms.items() if number > 14} == {}
    names = {path.stem for path in [*lengths, *(REPOSITORY / "tests").rglob("*.py")]}
    assert names & {"utils", "common", "helpers", "misc"} == set()
    tests = {path: len(path.read_text().splitlines()) for path in REPOSITORY.glob("tests/**/*.py")}
    assert {path: length for path, length in tests.items() if length > 350} == {}


def test_the_runtime_needs_neither_data_sets_nor_training(graph: grimp.ImportGraph) -> None:
    needed = {
        name
        for module in graph.find_descendants("pipeline.runtime")
        for name in graph.find_upstream_modules(module)
    }
    unwanted = ("pipeline.dataset", "pipeline.training", "pipeline.recordings")
    assert [name for name in sorted(needed) if name.startswith(unwanted)] == []


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from pipeline import cli; "
        "print([name for name in ('torch', 'numpy', 'mujoco', 'zarr') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"

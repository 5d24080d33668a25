"""Reads params.yaml into one frozen, strictly checked object; no other module reads the file.

No parameter has a default here: a key that is not in the file is an error that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.params.data import CollectParams, DatasetParams, IngestParams
from pipeline.params.deployment import EvaluateParams, ExecutionParams, ExportParams, ReleaseParams
from pipeline.params.learning import PolicyParams, TrainParams
from pipeline.params.section import ParamsError, Section
from pipeline.params.task import Box, RobotParams, TaskParams


class Params(Section):
    """The whole of params.yaml."""

    robot: RobotParams
    task: TaskParams
    collect: CollectParams
    ingest: IngestParams
    dataset: DatasetParams
    policy: PolicyParams
    train: TrainParams
    execution: ExecutionParams
    evaluate: EvaluateParams
    export: ExportParams
    release: ReleaseParams

    def override(self, section: str, **values: Any) -> Params:
        """A copy with some values of one section replaced, validated again; None keeps the old one.

        Args:
            section: name of the section, for instance "train".
            values: new values by their key in that section.

        Raises:
            ParamsError: a value does not fit.
        """
        changed = {key: value for key, value in values.items() if value is not None}
        data = self.model_dump(mode="json")
        data[section].update(changed)
        return _validate(data, Path(f"command line ({section})"))


def load_params(path: Path) -> Params:
    """Read and check params.yaml (YAML 1.2, so that `1e-05` is a number).

    Args:
        path: the file.

    Raises:
        ParamsError: the file is missing or is not YAML, a key is missing or unknown, or a value
            does not fit; the message names file, key, value and what was expected.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: no such file; expected params.yaml, or name one with --params")
    try:
        data = YAML(typ="safe", pure=True).load(path)
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(data, dict):
        raise ParamsError(f"{path}: holds {type(data).__name__}, expected sections such as train:")
    return _validate(data, path)


def _validate(data: dict[str, Any], path: Path) -> Params:
    try:
        return Params.parse(data)
    except ValidationError as error:
        problems: dict[tuple[str, str], list[str]] = {}
        for problem in error.errors():
            where, message, value = _describe(problem, data)
            problems.setdefault((where, value), []).append(message)
        # A key that takes values of several types has one problem for each.
        lines = [
            f"{where}: {messages[0]}"
            + "".join(" or " + other.removeprefix("Input should be ") for other in messages[1:])
            + value
            for (where, value), messages in problems.items()
        ]
        raise ParamsError(f"{path}: " + "; ".join(lines)) from None


def _describe(problem: Any, data: dict[str, Any]) -> tuple[str, str, str]:
    """The key that has a problem, the problem itself, and the value that was found."""
    value: Any = data
    parts: list[str] = []
    for part in problem["loc"]:
        if not _holds(value, part):
            break
        value = value[part]
        parts.append(str(part))
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_siblings(problem["loc"]))
        return ".".join(parts), f"unknown key; known here: {known}", ""
    if problem["type"] == "missing":
        where = ".".join([*parts, str(problem["loc"][-1])])
        return where, "missing; add it (params.yaml in the repository shows every key)", ""
    return ".".join(parts), problem["msg"], f" (got {problem['input']!r})"


def _holds(value: Any, part: int | str) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Params
    for part in location[:-1]:
        if part == "scenes":
            return sorted(Box.model_fields)  # a mapping of lists: two steps that name no field
        section = section.model_fields[part].annotation
    return sorted(section.model_fields)

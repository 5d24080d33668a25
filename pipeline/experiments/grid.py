"""The points of a sweep: what -S asks for, checked against params.yaml before anything runs.

Values are read by the parser that `dvc exp run -S` uses, so that both understand the same.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline.errors import PipelineError
from pipeline.params import Params

FILE = "params.yaml"


class SettingError(PipelineError):
    """What stands after -S names no parameter, or a value that it cannot take."""


@dataclass(frozen=True)
class Point:
    """One run's changes of params.yaml."""

    values: Mapping[str, Any]
    """Value by dotted key, for instance {"train.lr": 1e-4}."""

    @property
    def settings(self) -> list[str]:
        """What `dvc exp run -S` takes: key=value, values as JSON, which Hydra reads too."""
        return [f"{key}={json.dumps(value)}" for key, value in self.values.items()]

    @property
    def label(self) -> str:
        """For people."""
        return " ".join(f"{key}={as_text(value)}" for key, value in self.values.items())


def grid(settings: Sequence[str], params: Params) -> list[Point]:
    """Every combination of the values given, each checked as a whole.

    Args:
        settings: `key=value`, `key=value,value` or any choice or range of Hydra's grammar; the
            last key varies fastest.
        params: what stands in params.yaml.

    Returns:
        The points in their order, none twice.

    Raises:
        SettingError: a setting is not understood, its key is unknown or comes twice, or a
            combination of values does not fit.
    """
    axes: dict[str, list[Any]] = {}
    for setting in settings:
        key, values = _axis(setting)
        require_key(key, params)
        if key in axes:
            raise SettingError(f"-S {key}: given twice; give all its values at once: {key}=a,b")
        axes[key] = values
    points: dict[str, Point] = {}
    for combination in itertools.product(*axes.values()):
        point = Point(dict(zip(axes, combination, strict=True)))
        with_values(params, point.values)
        points.setdefault(json.dumps(point.values), point)
    return list(points.values())


def require_key(key: str, params: Params) -> None:
    """Refuse what is no key of params.yaml.

    Args:
        key: dotted, for instance "train.lr".
        params: what stands in params.yaml.

    Raises:
        SettingError: unknown; the message names keys that are close.
    """
    known = flatten(params.model_dump())
    if key in known:
        return
    inside = [name for name in known if name.startswith(f"{key}.")]
    if inside:
        raise SettingError(f"-S {key}: is a section; expected a key in it: {', '.join(inside[:8])}")
    last = key.rpartition(".")[2]
    close = [name for name in known if name.rpartition(".")[2] == last]
    close += [name for name in difflib.get_close_matches(key, known, n=3) if name not in close]
    hint = f"did you mean {' or '.join(close)}?" if close else f"see the keys in {FILE}"
    raise SettingError(f"-S {key}: no such key in {FILE}; {hint}")


def with_values(params: Params, values: Mapping[str, Any]) -> Params:
    """The parameters with some replaced, validated anew.

    Args:
        params: what stands in params.yaml.
        values: by dotted key.

    Raises:
        SettingError: a value does not fit.
    """
    data = params.model_dump(mode="json")
    for key, value in values.items():
        *sections, name = key.split(".")
        section = data
        for part in sections:
            section = section[part]
        section[name] = value
    try:
        return Params.parse(data)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        given = next((key for key in values if where.startswith(key)), where)
        wrong = f"{given}={as_text(values[given])}" if given in values else Point(values).label
        raise SettingError(f"-S {wrong}: {problem['msg']}") from error


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one mapping by dotted key; lists are values.

    Args:
        data: sections in sections.
        prefix: that stands before every key.
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def as_text(value: Any) -> str:
    """A parameter's value for people: strings as they are, the rest as JSON.

    Args:
        value: of a parameter.
    """
    return value if isinstance(value, str) else json.dumps(value)


def _axis(setting: str) -> tuple[str, list[Any]]:
    """The key of a setting and the values that it lists."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override, OverrideType
    from hydra.errors import HydraException

    text = setting.removeprefix(f"{FILE}:")

    def parse(text: str) -> Override:
        try:
            found = OverridesParser.create().parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise SettingError(
                f"-S {setting}: not understood ({reason}); expected key=value or key=value,value"
            ) from error
        if found.type != OverrideType.CHANGE or ":" in str(found.key_or_group):
            raise SettingError(
                f"-S {setting}: expected key=value of {FILE}, which has every key already"
            )
        return found

    found = parse(text)
    key = str(found.key_or_group)
    if not found.is_sweep_override():
        return key, [found.value()]
    if not (found.is_choice_sweep() or found.is_range_sweep()):
        raise SettingError(
            f"-S {setting}: a grid needs values one by one (key=value,value); "
            "`python -m pipeline search` draws from ranges"
        )
    return key, [parse(f"{key}={value}").value() for value in found.sweep_string_iterator()]

"""The points of a grid: the values of -S, checked against params.yaml before anything runs.

Hydra's parser reads the values, as in `dvc exp run -S`.
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
    """A setting of -S has an unknown key or an invalid value."""


@dataclass(frozen=True)
class Point:
    """The changes of params.yaml for one run."""

    values: Mapping[str, Any]
    """Value by dotted key, for instance {"train.lr": 1e-4}."""

    @property
    def settings(self) -> list[str]:
        """Arguments of `dvc exp run -S`: key=value, with values as JSON, which Hydra reads too."""
        return [f"{key}={json.dumps(value)}" for key, value in self.values.items()]

    @property
    def label(self) -> str:
        """The changes in one line."""
        return " ".join(f"{key}={as_text(value)}" for key, value in self.values.items())


def grid(settings: Sequence[str], params: Params) -> list[Point]:
    """Combine all values of all keys and validate each combination.

    Args:
        settings: `key=value`, `key=value,value` or any choice or range of Hydra's grammar; the
            last key varies fastest.
        params: the present params.yaml.

    Returns:
        The points in order, without duplicates.

    Raises:
        SettingError: a setting is malformed, its key is unknown or given twice, or a combination
            of values is invalid.
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
    """Check that params.yaml has a key.

    Args:
        key: dotted, for instance "train.lr".
        params: the present params.yaml.

    Raises:
        SettingError: the key is unknown; the message suggests similar keys.
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
    """Replace some parameters and validate the result.

    Args:
        params: the present params.yaml.
        values: by dotted key.

    Raises:
        SettingError: a value is invalid.
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
    """Flatten nested sections to one mapping by dotted key. Lists are values.

    Args:
        data: nested sections.
        prefix: prepended to every key.
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def as_text(value: Any) -> str:
    """Format a parameter's value: strings unchanged, everything else as JSON.

    Args:
        value: of a parameter.
    """
    return value if isinstance(value, str) else json.dumps(value)


def _axis(setting: str) -> tuple[str, list[Any]]:
    """Parse a setting to its key and its list of values."""
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
                f"-S {setting}: malformed ({reason}); expected key=value or key=value,value"
            ) from error
        if found.type != OverrideType.CHANGE or ":" in str(found.key_or_group):
            raise SettingError(
                f"-S {setting}: expected key=value with a key of {FILE}; keys cannot be added or "
                "removed"
            )
        return found

    found = parse(text)
    key = str(found.key_or_group)
    if not found.is_sweep_override():
        return key, [found.value()]
    if not (found.is_choice_sweep() or found.is_range_sweep()):
        raise SettingError(
            f"-S {setting}: a grid needs a list of values (key=value,value); "
            "`python -m pipeline search` samples from ranges"
        )
    return key, [parse(f"{key}={value}").value() for value in found.sweep_string_iterator()]

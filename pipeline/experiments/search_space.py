"""The search space: one distribution per parameter, checked against params.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.experiments.grid import Point, SettingError, grid, require_key, with_values
from pipeline.params import Params

KINDS = ("uniform", "loguniform", "int", "logint")
FORMS = (
    "uniform(low,high), loguniform(low,high), int(low,high), logint(low,high) or a list of values: "
    "a,b,c"
)


class Trial(Protocol):
    """The methods of an Optuna trial that sample a value."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Sample a number of an interval."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Sample an integer of an interval, bounds included."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any:
        """Sample one of several choices."""


@dataclass(frozen=True)
class Range:
    """An interval of numbers, bounds included."""

    low: float
    high: float
    log: bool
    """Whether the logarithm is sampled uniformly."""
    integer: bool


@dataclass(frozen=True)
class Choice:
    """A list of values."""

    values: Mapping[str, Any]
    """By their notation in `-S`."""


Space = dict[str, Range | Choice]


def parse_space(settings: Sequence[str], params: Params) -> Space:
    """Parse settings to distributions by dotted key.

    Args:
        settings: `key=loguniform(1e-5,1e-3)` and the like, see `FORMS`.
        params: the present params.yaml.

    Raises:
        SettingError: a setting is malformed, its key is unknown, or a bound or value is invalid.
    """
    space: Space = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        require_key(key, params)
        if key in space:
            raise SettingError(f"-S {key}: given twice")
        space[key] = _distribution(setting, key, text.strip(), params)
    if not space:
        raise SettingError(f"nothing to search: name parameters with -S key=…; expected {FORMS}")
    return space


def draw_point(space: Space, trial: Trial) -> Point:
    """Sample the values of one trial.

    Args:
        space: from `parse_space`.
        trial: that samples.
    """
    values: dict[str, Any] = {}
    for key, item in space.items():
        if isinstance(item, Choice):
            values[key] = item.values[trial.suggest_categorical(key, list(item.values))]
        elif item.integer:
            values[key] = trial.suggest_int(key, int(item.low), int(item.high), log=item.log)
        else:
            values[key] = trial.suggest_float(key, item.low, item.high, log=item.log)
    return Point(values)


def _distribution(setting: str, key: str, text: str, params: Params) -> Range | Choice:
    found = re.fullmatch(r"(\w+)\(([^()]*)\)", text)
    if found is None or found[1] == "choice":
        points = grid([setting], params)
        return Choice({point.label.partition("=")[2]: point.values[key] for point in points})
    kind, bounds = found[1], [part.strip() for part in found[2].split(",")]
    if kind not in KINDS:
        raise SettingError(f"-S {setting}: {kind} is unknown; expected {FORMS}")
    integer, log = kind.endswith("int"), kind.startswith("log")
    try:
        low, high = (float(bound) for bound in bounds)
    except ValueError as error:
        raise SettingError(f"-S {setting}: expected two numbers in the brackets") from error
    if integer and not (low.is_integer() and high.is_integer()):
        raise SettingError(f"-S {setting}: expected integers for {kind}")
    if not low < high or (log and low <= 0):
        expected = "0 < low < high" if log else "low < high"
        raise SettingError(f"-S {setting}: expected {expected}, got {low:g} and {high:g}")
    for bound in (low, high):
        with_values(params, {key: int(bound) if integer else bound})
    return Range(low, high, log, integer)

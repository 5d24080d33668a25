"""Where a search looks: a distribution a parameter, checked against params.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.experiments.grid import Point, SettingError, grid, require_key, with_values
from pipeline.params import Params

KINDS = ("uniform", "loguniform", "int", "logint")
FORMS = (
    "uniform(low,high), loguniform(low,high), int(low,high), logint(low,high) or values one by "
    "one: a,b,c"
)


class Trial(Protocol):
    """What of an Optuna trial a distribution draws from."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number between two."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number between two, both included."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> Any:
        """One of some."""


@dataclass(frozen=True)
class Range:
    """Numbers between two, both included."""

    low: float
    high: float
    log: bool
    whole: bool


@dataclass(frozen=True)
class Choice:
    """One of some values, by how `-S` writes them."""

    values: Mapping[str, Any]


Space = dict[str, Range | Choice]


def parse_space(settings: Sequence[str], params: Params) -> Space:
    """Distributions by dotted key.

    Args:
        settings: `key=loguniform(1e-5,1e-3)` and the like, see `FORMS`.
        params: what stands in params.yaml.

    Raises:
        SettingError: not understood, an unknown key, or an end of a range or a value that the
            parameter cannot take.
    """
    space: Space = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        require_key(key, params)
        if key in space:
            raise SettingError(f"-S {key}: given twice")
        space[key] = _distribution(setting, key, text.strip(), params)
    if not space:
        raise SettingError(f"nothing to search: name parameters with -S key=…; known: {FORMS}")
    return space


def draw_point(space: Space, trial: Trial) -> Point:
    """Values of one trial.

    Args:
        space: from `parse_space`.
        trial: that suggests them.
    """
    values: dict[str, Any] = {}
    for key, item in space.items():
        if isinstance(item, Choice):
            values[key] = item.values[trial.suggest_categorical(key, list(item.values))]
        elif item.whole:
            values[key] = trial.suggest_int(key, int(item.low), int(item.high), log=item.log)
        else:
            values[key] = trial.suggest_float(key, item.low, item.high, log=item.log)
    return Point(values)


def _distribution(setting: str, key: str, text: str, params: Params) -> Range | Choice:
    found = re.fullmatch(r"(\w+)\(([^()]*)\)", text)
    if found is None or found[1] == "choice":
        points = grid([setting], params)
        return Choice({point.label.partition("=")[2]: point.values[key] for point in points})
    kind, ends = found[1], [part.strip() for part in found[2].split(",")]
    if kind not in KINDS:
        raise SettingError(f"-S {setting}: {kind} is unknown; known: {FORMS}")
    whole, log = kind.endswith("int"), kind.startswith("log")
    try:
        low, high = (float(end) for end in ends)
    except ValueError as error:
        raise SettingError(f"-S {setting}: expected two numbers in the brackets") from error
    if whole and not (low.is_integer() and high.is_integer()):
        raise SettingError(f"-S {setting}: expected whole numbers for {kind}")
    if not low < high or (log and low <= 0):
        least = "0 < low < high" if log else "low < high"
        raise SettingError(f"-S {setting}: expected {least}, got {low:g} and {high:g}")
    for end in (low, high):
        with_values(params, {key: int(end) if whole else end})
    return Range(low, high, log, whole)

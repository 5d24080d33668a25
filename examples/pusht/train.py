"""Trains a policy for Push-T on demonstrations, a zarr that you give.

python -m examples.pusht.train --data-path artifacts/pusht_mirrored.zarr --out artifacts/pusht
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from examples.pusht import recipe
from pipeline.params import Params
from pipeline.stages import train


def changed(params: Params, changes: Sequence[str]) -> Params:
    """The parameters with some values replaced.

    Args:
        params: all parameters.
        changes: SECTION.NAME=VALUE, the value in YAML.

    Raises:
        SystemExit: a change names no parameter.
        ParamsError: a value does not fit.
    """
    sections: dict[str, dict[str, Any]] = {}
    for change in changes:
        name, _, value = change.partition("=")
        section, _, field = name.partition(".")
        if not hasattr(getattr(params, section, None), field):
            raise SystemExit(
                f"--set {change}: expected a parameter of params.yaml, as train.seed=1"
            )
        sections.setdefault(section, {})[field] = YAML(typ="safe", pure=True).load(value)
    for section, values in sections.items():
        params = params.override(section, **values)
    return params


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-path", type=Path, required=True, help="the zarr")
    parser.add_argument("--out", type=Path, default=Path("artifacts/pusht"), help="folder to write")
    parser.add_argument(
        "--set", metavar="SECTION.NAME=VALUE", action="append", default=[], dest="changes",
        help="a parameter instead of the recipe's, for instance train.seed=1; may be repeated",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    params = changed(recipe.params(), given.changes)
    started = time.process_time()
    train.run(params, given.out, given.data_path, recipe.RATE_HZ)
    print(f"{time.process_time() - started:.0f} s of CPU time")


if __name__ == "__main__":
    main()

"""Trains a policy for Push-T on demonstrations, a zarr that you give.

python -m examples.pusht.train --data-path artifacts/pusht_mirrored.zarr --out artifacts/pusht
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from examples.pusht import recipe
from pipeline.experiments.grid import SettingError, grid, with_values
from pipeline.params import Params
from pipeline.stages import train


def changed(params: Params, changes: Sequence[str]) -> Params:
    """The parameters with some values replaced.

    Args:
        params: all parameters.
        changes: settings as `dvc exp run -S` takes them, with one value each.

    Raises:
        SystemExit: a change names no parameter, has several values, or its value does not fit.
    """
    try:
        points = grid(changes, params)
        if len(points) > 1:
            raise SettingError(f"{len(points)} combinations of values are one training each")
        return with_values(params, points[0].values)
    except SettingError as error:
        raise SystemExit(
            f"{error}; expected a parameter with one value, as -S train.seed=1"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-path", type=Path, required=True, help="the zarr")
    parser.add_argument("--out", type=Path, default=Path("artifacts/pusht"), help="folder to write")
    parser.add_argument(
        "-S", "--set", metavar="SECTION.NAME=VALUE", action="append", default=[], dest="changes",
        help="a parameter instead of the recipe's, for instance train.seed=1; may be repeated",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    params = changed(recipe.params(), given.changes)
    started = time.process_time()
    train.run(params, given.out, given.data_path, recipe.RATE_HZ)
    print(f"{time.process_time() - started:.0f} s of CPU time")


if __name__ == "__main__":
    main()

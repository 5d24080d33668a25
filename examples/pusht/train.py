"""Trains a policy for Push-T on the published demonstrations, a zarr that you give.

python -m examples.pusht.train --data-path pusht_cchi_v7_replay.zarr --out artifacts/pusht
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from examples.pusht import recipe
from pipeline.stages import train


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-path", type=Path, required=True, help="the zarr")
    parser.add_argument("--out", type=Path, default=Path("artifacts/pusht"), help="folder to write")
    parser.add_argument("--seed", type=int, default=0, help="instead of train.seed")
    parser.add_argument("--num-epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--test-fraction", type=float,
        help="share of episodes left out; 0.52 leaves 89 of 206 for training (published: 90)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    params = recipe.params().override("train", seed=given.seed, num_epochs=given.num_epochs)
    params = params.override("dataset", test_fraction=given.test_fraction)
    started = time.process_time()
    train.run(params, given.out, given.data_path, recipe.RATE_HZ)
    print(f"{time.process_time() - started:.0f} s of CPU time")


if __name__ == "__main__":
    main()

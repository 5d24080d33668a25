"""What every part of `bench.gpu` is given, and how it runs in a process of its own.

A part writes what it has after every row, so that one which runs out of time leaves the rest.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.params import Params, load_params
from pipeline.run import write_json

REPOSITORY = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "mlp_width": 16, "mlp_blocks": 1, "unet_channels": [8, 16], "unet_groups": 4,
    "transformer_width": 16, "transformer_layers": 1, "step_embedding": 8,
    "num_inference_steps": 2,
}  # fmt: skip


class NotAvailableError(Exception):
    """A part needs what this machine lacks."""


@dataclass
class Part:
    """What a part is given, and what it has found so far."""

    device: torch.device
    tiny: bool
    data: Path
    answer: Path
    found: dict[str, Any] = field(default_factory=dict)

    def keep(self, key: str, value: Any) -> None:
        """Add a result and write all of them."""
        self.found[key] = value
        write_json(self.answer, self.found)

    def attempt(self, key: str, measure: Callable[[], Any]) -> None:
        """Add a result, or the reason why there is none."""
        try:
            self.keep(key, measure())
        except Exception as error:
            self.keep(key, reason(error))

    @property
    def params(self) -> Params:
        """The repository's parameters, with small networks in a dry run."""
        params = load_params(REPOSITORY / "params.yaml")
        paths = {name: REPOSITORY / getattr(params.robot, name) for name in ("urdf", "srdf")}
        params = params.override("robot", **paths)
        return params.override("policy", **TINY) if self.tiny else params

    def networks(self) -> Iterator[tuple[str, Params]]:
        """Every network of the tables, with its name."""
        from bench.train import NETWORKS

        every = {**NETWORKS, "transformer": {"network": "transformer"}}
        for name, changes in every.items():
            chosen = {**changes, **TINY} if self.tiny else changes
            if not (self.tiny and "512" in name):
                yield name, self.params.override("policy", **chosen)


def reason(error: BaseException) -> str:
    """What a part says that did not end well."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, ModuleNotFoundError):
        return f"not available: needs the package {error.name}"
    if isinstance(error, NotAvailableError):
        return f"not available: {first}"
    return f"failed: {type(error).__name__}: {first}"


def run(name: str, options: argparse.Namespace, answer: Path) -> None:
    """Run a part in this process, which ends with it.

    Args:
        name: of the part.
        options: of the command line.
        answer: the file to write.
    """
    os.setsid()  # so that the parent can end everything that this process starts
    part = Part(torch.device("cpu"), options.dry_run, options.data, answer)
    if options.dry_run:
        torch.set_num_threads(1)  # tiny products: more threads only wait for each other
    try:
        if not options.dry_run:
            if not torch.cuda.is_available():
                raise NotAvailableError("torch sees no GPU")
            part.device = torch.device("cuda", 0)
        from bench.gpu import runs, steps

        measure = getattr(steps, f"part_{name}", None) or getattr(runs, f"part_{name}")
        measure(part)
        part.keep("status", "done")
    except BaseException as error:
        part.keep("status", reason(error))

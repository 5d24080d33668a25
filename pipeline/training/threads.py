"""Find the fastest number of CPU threads for a training step, and remember it.

The last digits of sums depend on the number of threads, and the fastest number depends on what else
the machine does. So the number is stored and used by every later training of the same network and
batch from the same folder, which then ends with the same weights.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.machine import available_cores
from pipeline.policy.model import PolicyModel
from pipeline.run import write_json

PROBE_STEPS = 8
"""Steps that are timed for each number of threads; the fastest counts."""
PROBE_GAIN = 0.9
"""A larger number of threads must take less than this share of the time of a smaller one."""


def usable_cores() -> int:
    """Cores of this process; where torchrun started several here, its share of them."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, available_cores() // here)


def thread_choices(cores: int) -> list[int]:
    """Numbers of threads to try: powers of two below the cores, and the cores.

    Args:
        cores: that this process may use.
    """
    return sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})


def fastest(choices: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The smallest choice that no larger one clearly beats.

    Args:
        choices: rising.
        seconds: what a step takes with a choice.
    """
    best, least = choices[0], seconds(choices[0])
    for choice in choices[1:]:
        found = seconds(choice)
        if found < PROBE_GAIN * least:
            best, least = choice, found
    return best


def find_threads(model: PolicyModel, obs: Tensor, action: Tensor, draws: int, cores: int) -> int:
    """The number of CPU threads with which a step of this network is fastest on this machine.

    A copy of the model is timed: nothing that training depends on moves.

    Args:
        model: the policy, on the CPU.
        obs: a batch of raw observations, shape (B, T, S).
        action: its actions, rad, shape (B, H, A).
        draws: noise draws of each observation.
        cores: that training may use.
    """
    trial = copy.deepcopy(model)
    shape = (draws * len(obs), *action.shape[1:])
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, generator=generator)
    with torch.no_grad():  # training prepares these before the step
        condition = trial.condition(obs)
        clean = trial.codec.encode(action, trial.current_joints(obs))
    steps = torch.randint(len(trial.signal), shape[:1], generator=generator)
    before = torch.get_num_threads()

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        times = []
        for _ in range(PROBE_STEPS + 1):
            started = time.perf_counter()
            torch.autograd.backward(trial.denoising_loss(condition, clean, noise, steps))
            times.append(time.perf_counter() - started)
        return min(times[1:])

    try:
        return fastest(thread_choices(cores), seconds)
    finally:
        torch.set_num_threads(before)


def remembered_threads(folder: Path, subject: str, find: Callable[[], int]) -> int:
    """The stored number for the same subject on this machine, else a new one.

    Args:
        folder: of the numbers; an unreadable one is found again, an unwritable one is found again
            the next time.
        subject: what the number depends on besides the machine: network and batch.
        find: finds a number.
    """
    place = f"{platform.node()}, {usable_cores()} cores, torch {torch.__version__}"
    key = hashlib.sha256(f"{place}, {subject}".encode()).hexdigest()[:16]
    file = folder / f"{key}.json"
    try:
        return int(json.loads(file.read_text())["threads"])
    except (OSError, ValueError, TypeError, KeyError):
        found = find()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, {"machine": place, "subject": subject, "threads": found})
    return found

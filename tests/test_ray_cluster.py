"""Two machines of a Ray cluster give the bytes of one process, also where one of them is killed.

The machines are Ray's own: each a process group with its own raylet, object store and workers.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed (pip install ray)")

import ray
from ray._private.state import available_resources_per_node
from ray.cluster_utils import Cluster

from pipeline.hashing import sha256_file
from pipeline.params import Params
from pipeline.processes import WorkerError, in_ray
from pipeline.robot.model import ModelError
from pipeline.stages import collect, ingest
from tests.conftest import HANG_S, REPOSITORY
from tests.fixtures.recordings import write_plans

pytestmark = pytest.mark.slow
STORE_BYTES = 100 * 2**20


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head that computes nothing, and a machine with one core."""
    with pytest.MonkeyPatch.context() as patch:
        # What the workers import from.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), *sys.path]))
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
            # Ray leaves the processes of killed machines to the garbage collector, which warns.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del cluster
                gc.collect()


class Victim:
    """Another machine with one core, to be killed."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._node = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        cluster.wait_for_nodes()
        self.alive = True

    def kill(self) -> None:
        """Send SIGKILL to its processes; its workers and its object store die with them."""
        if self.alive:
            self._cluster.remove_node(self._node, allow_graceful=False)
            self.alive = False

    def kill_at_work(self) -> None:
        """Wait until it computes a shard, then kill it."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            free = available_resources_per_node().get(self._node.node_id, {"CPU": 1})
            if free.get("CPU", 0) < 1:
                self.kill()
                return
            time.sleep(0.02)


@pytest.fixture
def victim(machines: Any) -> Iterator[Victim]:
    """A second machine of the cluster."""
    machine = Victim(machines)
    yield machine
    machine.kill()


@contextmanager
def killed_in_the_midst(victim: Victim) -> Iterator[None]:
    thread = threading.Thread(target=victim.kill_at_work)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not victim.alive, "the work ended before the machine was killed"


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _slow_large(shard: int) -> bytes:
    # Larger than what Ray keeps beside the driver, so that it lies in the store of its machine.
    time.sleep(0.3)
    return bytes([shard]) * 2**20


def _fail(shard: int) -> int:
    raise ModelError("no joint 'elbow'")


def _divide(shard: int) -> float:
    return 1 / shard


def _pid(shard: int) -> int:
    return os.getpid()


def test_results_come_in_order_though_a_store_is_lost(victim: Victim) -> None:
    shards = in_ray(_slow_large, fresh=False)
    found = [next(shards)]
    victim.kill()
    found += [next(shards) for _ in range(7)]
    shards.close()
    assert found == [bytes([shard]) * 2**20 for shard in range(8)]


def test_errors_keep_their_type_and_a_shard_can_have_its_own_process(machines: Any) -> None:
    with pytest.raises(ModelError, match="no joint 'elbow'"):
        next(in_ray(_fail, fresh=False))
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        next(in_ray(_divide, fresh=False))
    shards = in_ray(_pid, fresh=True)
    assert len({next(shards) for _ in range(3)}) == 3
    shards.close()


def test_collect_gives_the_same_bytes(victim: Victim, params: Params, tmp_path: Path) -> None:
    # Several shards, so that the machine dies between its first and its last.
    few = params.override("collect", episodes=60, workers=1)
    with killed_in_the_midst(victim):
        collect.run(few.override("collect", engine="ray"), tmp_path / "ray")
    collect.run(few, tmp_path / "process")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "process")


def test_ingest_gives_the_same_bytes(
    victim: Victim, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.validation.shards._SHARD_FILES", 2)
    for number in range(16):
        write_plans(tmp_path / "recordings" / f"bag_{number:02d}", params, ("", "times", ""))
    given = params.override(
        "ingest", source=tmp_path / "recordings", workers=1, max_reject_fraction=1.0
    )
    with killed_in_the_midst(victim):
        ingest.run(given.override("ingest", engine="ray"), tmp_path / "ray")
    ingest.run(given, tmp_path / "process")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "process")

"""A remote in the S3 server of SeaweedFS on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.doctor.remotes import examine

from .project import Project
from .servers import S3Server, s3_server
from .steps import add_remote, cached, interrupted, round_trip, set_local

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = s3_server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def remote(project: Project, server: S3Server) -> Project:
    """The project with a remote in the bucket, nothing pushed."""
    settings = {"endpointurl": server.endpoint, "region": "us-east-1"}
    add_remote(project, "s3://store/results", KEYS, **settings)
    return project


def test_a_fresh_clone_draws_everything_and_runs_nothing(remote: Project, tmp_path: Path) -> None:
    assert "nothing was pushed" in examine(remote.root).found
    round_trip(remote, tmp_path)
    assert examine(remote.root).found == "storage: s3://store/results"


WRONG = (
    ({**KEYS, "secret_access_key": "wrong"}, "the secret does not fit"),
    ({**KEYS, "url": "s3://missing/results"}, "the server has no bucket missing"),
    ({**KEYS, "endpointurl": "http://127.0.0.1:1"}, "no server on that port"),
)
ALSO_WRONG = (
    ({**KEYS, "access_key_id": "nobody"}, "does not know the access key"),
    ({**KEYS, "access_key_id": "guest"}, "not for this bucket"),
    ({}, "no access key is set"),
)


@pytest.mark.parametrize("cases", [WRONG, pytest.param(ALSO_WRONG, marks=pytest.mark.slow)])
def test_each_wrong_key_and_bucket_are_told_apart(
    remote: Project, cases: tuple[tuple[dict[str, str], str], ...]
) -> None:
    for local, found in cases:
        set_local(remote, local)
        told = examine(remote.root)
        assert told.status == "problem" and told.remedy
        assert found in told.found
    set_local(remote, KEYS)


@pytest.mark.slow  # it waits for every file that DVC still tries
def test_a_server_that_dies_half_way_costs_nothing(
    remote: Project, server: S3Server, tmp_path: Path
) -> None:
    # Other data than those that are there already.
    (remote.root / "params.yaml").write_text("seed: 1\n")
    remote.run("dvc", "repro", "-q")
    remote.commit("Draw anew")
    start = server.received()
    push = ("push", "-q", "--jobs", "2")
    interrupted(remote, push, lambda: server.received() > start + 500_000, server.kill)
    assert server.received() < start + 2_000_000
    server.start()
    remote.run("dvc", "push", "-q")

    fresh = remote.clone(tmp_path / "fresh")
    interrupted(fresh, ("pull", "-q", "--jobs", "2"), lambda: cached(fresh) > 30, server.kill)
    server.start()
    fresh.run("dvc", "pull", "-q")
    assert fresh.content() == remote.content()

"""A remote in the S3 server of SeaweedFS on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.doctor.remotes import examine

from .project import FILE_BYTES, NUM_FILES, Project
from .servers import KEYS, S3Server, s3_server
from .steps import add_remote, interrupted, round_trip, set_local


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def remote(project: Project, server: S3Server) -> Project:
    """The project with a remote in the bucket, nothing pushed."""
    settings = {"endpointurl": server.endpoint(), "region": "us-east-1"}
    add_remote(project, "s3://store/results", KEYS, **settings)
    return project


def test_a_fresh_clone_draws_everything_and_runs_nothing(remote: Project, tmp_path: Path) -> None:
    set_local(remote, KEYS)
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


@pytest.mark.slow  # it waits for every file that DVC still tries
def test_a_server_that_dies_half_way_costs_nothing(
    remote: Project, server: S3Server, tmp_path: Path
) -> None:
    start = server.received("fragile")
    interrupted(remote, ("push", "-q", "--jobs", "2"), server, "fragile")
    assert start < server.received("fragile") < start + NUM_FILES * FILE_BYTES
    server.start()
    remote.run("dvc", "push", "-q")

    fresh = remote.clone(tmp_path / "fresh")
    interrupted(fresh, ("pull", "-q", "--jobs", "2"), server, "fragile")
    assert fresh.content() != remote.content()
    server.start()
    fresh.run("dvc", "pull", "-q")
    assert fresh.content() == remote.content()

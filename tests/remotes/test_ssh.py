"""A remote behind OpenSSH on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.doctor.remotes import examine

from .project import NUM_FILES, Project
from .servers import SshServer, ssh_server
from .steps import add_remote, interrupted, round_trip, set_local


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture(scope="module")
def remote(project: Project, server: SshServer) -> Project:
    """The project with a remote on the server, nothing pushed."""
    add_remote(project, "ssh://host/store", server.settings("store"))
    return project


def test_a_server_that_dies_half_way_costs_nothing(
    remote: Project, server: SshServer, tmp_path: Path
) -> None:
    set_local(remote, server.settings("fragile"))
    assert examine(remote.root).status == "absent"  # no folder there yet
    interrupted(remote, ("push", "-q", "--jobs", "2"), server, "fragile")
    assert 0 < server.received("fragile") < NUM_FILES
    assert "no server on that port" in examine(remote.root).found
    server.start()
    remote.run("dvc", "push", "-q")

    fresh = remote.clone(tmp_path / "fresh")
    interrupted(fresh, ("pull", "-q", "--jobs", "2"), server, "fragile")
    assert fresh.content() != remote.content()
    server.start()
    fresh.run("dvc", "pull", "-q")
    assert fresh.content() == remote.content()


def test_a_fresh_clone_draws_everything_and_runs_nothing(
    remote: Project, server: SshServer, tmp_path: Path
) -> None:
    set_local(remote, server.settings("store"))
    round_trip(remote, tmp_path)


def test_each_wrong_key_is_told_apart(remote: Project, server: SshServer) -> None:
    (server.folder / "keys").mkdir()
    settings = server.settings("keys")
    set_local(remote, settings)
    assert examine(remote.root).status == "ok"
    for key, found, remedy in (
        ("wrong", "refuses the user or the key", f"ssh-copy-id -i {server.folder}/wrong"),
        ("none", "there is no key file", "dvc remote modify --local storage keyfile"),
    ):
        set_local(remote, {**settings, "keyfile": str(server.folder / key)})
        told = examine(remote.root)
        assert told.status == "problem"
        assert found in told.found and remedy in told.remedy

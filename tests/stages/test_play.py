"""The command shows a page until it is stopped, or says what is missing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.play.episodes import EpisodesError
from pipeline.runtime.deployment import DeploymentError
from pipeline.stages import play
from tests.conftest import HANG_S
from tests.fixtures.recordings import write_plans

REPOSITORY = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def ingested(params: Params, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ingest with one accepted and one rejected trajectory."""
    from pipeline.stages import ingest

    folder = tmp_path_factory.mktemp("recordings")
    source = write_plans(folder / "bag", params, ("", "times"))
    ingest.run(params, folder / "ingest", source)
    return folder / "ingest"


def show(params: Params, place: Path, port: int = 0, recording: Path | None = None) -> None:
    play.run(params, str(place / "export"), recording, place, None, LOOPBACK, port)


def test_without_viser_it_says_how_to_install_it(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "find_spec", lambda name: None)
    with pytest.raises(play.PlayError, match="viser, which is not installed: run `make play`"):
        show(params, tmp_path)
    assert (REPOSITORY / "pipeline" / "play" / "requirements.txt").is_file()


def test_it_shows_recordings_until_it_is_stopped(ingested: Path) -> None:
    pytest.importorskip("viser", reason="the extra `play` is not installed")
    command = [sys.executable, "-m", "pipeline", "play", "--port", "0"]
    with subprocess.Popen(
        [*command, "--recording", str(ingested)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "300"},
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            lines = iter(child.stdout.readline, "")
            line = next(line for line in lines if line.startswith("Showing"))
            assert str(ingested) in line
            address = line.partition(" at ")[2].split()[0]
            assert address.startswith(f"http://{LOOPBACK}:"), "nobody else can reach it"
            with urllib.request.urlopen(address, timeout=HANG_S) as answer:
                assert answer.status == 200
            child.send_signal(signal.SIGTERM)
            assert child.wait(HANG_S) == 0
            assert "Stopped" in child.stdout.read()
        finally:
            child.kill()


def test_what_is_missing_or_taken_is_named(params: Params, tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="the extra `play` is not installed")
    with pytest.raises(DeploymentError, match=r"export: no such file or folder"):
        show(params, tmp_path)
    with pytest.raises(EpisodesError, match=r"report\.json: .*run ingest"):
        show(params, tmp_path, recording=tmp_path)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        with pytest.raises(PipelineError, match="choose another --port"):
            show(params, tmp_path, taken.getsockname()[1])

"""The command line: errors are one line, and options reach the stages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app, main
from pipeline.experiments.gpus import GpuError
from pipeline.params import ParamsError
from tests.command import refusal, run_pipeline


def test_help_lists_every_command() -> None:
    output = run_pipeline("--help").stdout
    for command in (
        "collect",
        "ingest",
        "dataset",
        "train",
        "evaluate",
        "export",
        "info",
        "serve",
        "doctor",
    ):
        assert command in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("collect", "--params", "absent.yaml"), ["absent.yaml", "no such file"]),
        (("ingest", "--source", "absent.bag"), ["absent.bag"]),
        (("dataset", "--source", "absent.zarr"), ["absent.zarr"]),
        (("train", "--data-path", "absent.zarr"), ["absent.zarr"]),
        (("evaluate", "--model", "absent.pt"), ["absent.pt", "no such file"]),
        (("export", "--model", "absent.pt"), ["absent.pt", "no such file"]),
        (("info", "absent"), ["absent"]),
        (("serve", "--model", "absent"), ["absent", "no such file or folder"]),
        (("train", "--lr", "-1"), ["command line (train)", "train.lr", "greater than 0"]),
    ],
)
def test_the_error_of_a_missing_input_is_one_line_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...], words: list[str],
) -> None:  # fmt: skip
    if arguments[0] not in {"info", "serve"}:
        arguments = (*arguments, "--out", str(tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["pipeline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    for word in words:
        assert word in said
    assert not (tmp_path / "out").exists()


def test_an_error_is_the_exit_status() -> None:
    assert "absent.yaml" in refusal("collect", "--params", "absent.yaml")


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in run_pipeline("--debug", "collect", "--params", "absent.yaml").stderr


def test_option_names_with_hyphens_or_underscores_are_accepted() -> None:
    output = run_pipeline("train", "--help").stdout
    for option in ("--data-path", "--output-dir", "--num-epochs", "--batch-size", "--n-obs-steps"):
        assert option in output


@pytest.mark.parametrize(
    ("command", "claims"),
    [
        ("collect", False), ("ingest", False), ("dataset", False), ("doctor", False),
        ("train", True), ("evaluate", True), ("export", True),
    ],
)  # fmt: skip
def test_commands_that_use_a_gpu_claim_one_first(
    monkeypatch: pytest.MonkeyPatch, command: str, claims: bool
) -> None:
    monkeypatch.setenv("PIPELINE_GPUS", "not a GPU")
    result = CliRunner().invoke(app, [command, "--params", "absent.yaml"])
    assert isinstance(result.exception, GpuError if claims else ParamsError)

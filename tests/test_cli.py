"""The command line: errors are one red line, options reach the stages."""

from __future__ import annotations

from pathlib import Path

import pytest

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
def test_a_missing_input_is_one_line_that_names_it(
    tmp_path: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    if arguments[0] not in {"info", "serve"}:
        arguments = (*arguments, "--out", str(tmp_path / "out"))
    said = refusal(*arguments)
    for word in words:
        assert word in said
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in run_pipeline("--debug", "collect", "--params", "absent.yaml").stderr


def test_the_team_s_spelling_of_options_is_understood() -> None:
    output = run_pipeline("train", "--help").stdout
    for option in ("--data-path", "--output-dir", "--num-epochs", "--batch-size", "--n-obs-steps"):
        assert option in output

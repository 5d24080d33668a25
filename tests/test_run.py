"""Output folders appear whole or not at all; JSON is never half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run import MARKER, OutputError, output_folder, state_root, track, versions, write_json

REPOSITORY = Path(__file__).parents[1]


def test_a_folder_replaces_the_previous_one_when_all_went_well(tmp_path: Path) -> None:
    out = tmp_path / "stage"
    for content in ("first", "second"):
        with output_folder(out) as folder:
            (folder / content).write_text(content)
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_failure_leaves_the_previous_folder_untouched(tmp_path: Path) -> None:
    out = tmp_path / "stage"
    with output_folder(out) as folder:
        (folder / "kept").write_text("kept")
    with pytest.raises(KeyboardInterrupt), output_folder(out) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "kept"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".stage.partial").mkdir()
    (tmp_path / ".stage.partial" / "half").write_text("half")
    with output_folder(tmp_path / "stage") as folder:
        assert [path.name for path in folder.iterdir()] == [MARKER]


def test_a_run_killed_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "stage"
    with output_folder(out) as folder:
        (folder / "good").write_text("good")
    # As a kill after the first of the two renames leaves it.
    out.rename(tmp_path / ".stage.previous")
    (tmp_path / ".stage.partial").mkdir()
    (tmp_path / ".stage.partial" / "new").write_text("new")
    with pytest.raises(ZeroDivisionError), output_folder(out):
        raise ZeroDivisionError
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "good"]
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "stage"
    code = (
        "import sys; from pathlib import Path; from pipeline.run import output_folder\n"
        "with output_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'theirs').touch(); print('writing', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, out],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(OutputError, match="another run is writing it"), output_folder(out):
            pass
        assert sorted(path.name for path in tmp_path.iterdir()) == [".stage.partial"]
        other.communicate("")
    assert other.returncode == 0
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "theirs"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stage").write_text("a file")
    with pytest.raises(OutputError, match="stage: is a file"), output_folder(tmp_path / "stage"):
        pass


def test_a_folder_that_no_stage_wrote_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "home"
    out.mkdir()
    with output_folder(out):
        """An empty folder is anyone's."""
    (out / MARKER).unlink()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"home: holds thesis\.tex"), output_folder(out):
        pass
    assert (out / "thesis.tex").read_text() == "years of work"


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"b": 1, "a": [0.5]})
    assert list(json.loads(path.read_text())) == ["b", "a"]
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"b": float("nan")})
    assert json.loads(path.read_text()) == {"b": 1, "a": [0.5]}


def test_tracking_passes_every_item_on() -> None:
    assert list(track(iter("abc"), "Spelling", 3)) == ["a", "b", "c"]


def test_versions_of_what_is_not_there_say_so() -> None:
    found = versions("numpy", "no-such-package")
    assert found["no-such-package"] == "not installed"
    assert found["numpy"][0].isdigit()


def test_states_lie_below_the_repository_that_dvc_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert state_root("train") == Path("/somewhere/.state/train")
    monkeypatch.delenv("DVC_ROOT")
    assert state_root("train") == Path(".state/train")

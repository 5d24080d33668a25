"""params.yaml: every key typed, nothing unknown, every error named."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pipeline.params import Params, ParamsError, load_params

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def text() -> str:
    return (REPOSITORY / "params.yaml").read_text()


def _load(tmp_path: Path, text: str) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return load_params(path)


def test_the_repository_s_parameters_are_valid(text: str, tmp_path: Path) -> None:
    assert len(_load(tmp_path, text).robot.joints) == 6


def test_every_key_has_a_sentence_above_it(text: str) -> None:
    lines = text.splitlines()
    bare = [
        line.strip()
        for above, line in itertools.pairwise(lines)
        if line.startswith("  ")
        and ":" in line
        and "#" not in line.split(":")[0]
        and not above.strip().startswith("#")
        and line.strip() not in {"servo:", "gripper:"}
    ]
    assert bare == []


def test_exponents_without_a_dot_are_numbers(text: str, tmp_path: Path) -> None:
    assert _load(tmp_path, text.replace("lr: 1e-3", "lr: 1e-05")).train.lr == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lr: 1e-3", "lr: fast", ["train.lr", "'fast'"]),
        ("lr: 1e-3", "lr: -1", ["train.lr", "greater than 0"]),
        ("lr: 1e-3", "lr: .nan", ["train.lr"]),
        ("  lr: 1e-3", "  learning_rate: 1e-3", ["train.learning_rate", "unknown", "batch_size"]),
        ("    damping_ratio: 1.0", "    damping: 1.0", ["robot.servo.damping", "damping_ratio"]),
        ("network: mlp", "network: rnn", ["policy.network", "'unet' or 'transformer'"]),
        ("home_rad: [0.0, ", "home_rad: [", ["home_rad has 5 numbers for 6 joints"]),
        ("val_fraction: 0.1", "val_fraction: 0.95", ["must leave a share for training"]),
        ("num_inference_steps: 10", "num_inference_steps: 101", ["exceeds num_train_steps 100"]),
        ("sampler: ddim", "sampler: ode", ["policy.sampler", "'ddim' or 'mip'"]),
        ("scene: free", "scene: moon", ["scene 'moon' is unknown; expected one of free, bar"]),
        ("size_m: [0.03, 0.10, 0.03]", "size_m: [0.03, 0.0, 0.03]", ["task.scenes.bar.0.size_m.1"]),
        ("size_m: [0.03,", "size: [0.03,", ["scenes.bar.0.size: unknown", "centre_m, size_m"]),
        ("force_n: 20.0", "force_n: -1", ["robot.gripper.force_n"]),
        ("closing: [[1.0, 0.0, 0.0], ", "closing: [", ["closing has 1 directions for 2 fingers"]),
        ("closing: [[1.0, 0.0, 0.0], ", "closing: [[0, 0, 0], ", ["a direction without length"]),
        ("batch: [1, 1, 64]", "batch: [4, 1, 64]", ["must rise"]),
        ("salvage: false", 'salvage: "yes"', ["ingest.salvage", "valid boolean", "'yes'"]),
        ("episodes: 1000", "episodes: true", ["collect.episodes", "valid integer", "True"]),
        ("min_points: 3", 'min_points: "3"', ["ingest.min_points", "valid integer", "'3'"]),
        ("batch_size: 64", "batch_size: many", ["train.batch_size", "valid integer", "or", "auto"]),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    text: str, tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in text
    with pytest.raises(ParamsError) as error:
        _load(tmp_path, text.replace(old, new))
    for word in ["params.yaml", *words]:
        assert word in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__, "no library's dump stands behind the useful line"


def test_a_missing_key_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"export\.opset: missing"):
        _load(tmp_path, text.replace("  opset: 20\n", ""))


@pytest.mark.parametrize("content", ["", "a: [", "- 1\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        _load(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"absent\.yaml: no such file"):
        load_params(tmp_path / "absent.yaml")


def test_an_override_is_validated_and_leaves_the_rest(text: str, tmp_path: Path) -> None:
    params = _load(tmp_path, text)
    changed = params.override("train", lr=1e-4, num_epochs=None)
    assert changed.train.lr == 1e-4
    assert changed.train.num_epochs == params.train.num_epochs
    assert changed.policy == params.policy
    with pytest.raises(ParamsError, match=r"command line \(train\).*train\.lr"):
        params.override("train", lr=-1.0)

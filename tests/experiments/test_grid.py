"""Settings become points; what does not fit params.yaml is refused by name before anything runs."""

from __future__ import annotations

import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from pipeline.experiments.grid import SettingError, flatten, grid, with_values
from pipeline.params import Params


def test_every_combination_once_the_last_key_fastest(params: Params) -> None:
    points = grid(["train.lr=1e-4,3e-4", "params.yaml:policy.network=mlp,unet"], params)
    assert [tuple(point.values.values()) for point in points] == [
        (1e-4, "mlp"), (1e-4, "unet"), (3e-4, "mlp"), (3e-4, "unet"),
    ]  # fmt: skip
    assert points[1].label == "train.lr=0.0001 policy.network=unet"
    assert len(grid(["train.lr=1e-3,0.001,2e-3"], params)) == 2


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("train.num_epochs=range(1,4)", [1, 2, 3]),
        ("train.lr=choice(1e-5,1e-4)", [1e-5, 1e-4]),
        ("policy.unet_channels=[32,64],[64,128]", [[32, 64], [64, 128]]),
        ('export.targets=["8.9"]', [["8.9"]]),
        ("train.init_from=null", [None]),
        ("train.device='cuda:1'", ["cuda:1"]),
        ("ingest.source=/data/my bag.mcap", ["/data/my bag.mcap"]),
        ("train.batch_size=auto,64", ["auto", 64]),
    ],
)
def test_values_are_read_as_dvc_reads_them(
    params: Params, setting: str, values: list[object]
) -> None:
    key = setting.partition("=")[0]
    points = grid([setting], params)
    assert [point.values[key] for point in points] == values
    # What is handed on means the same.
    assert [grid(point.settings, params) for point in points] == [[point] for point in points]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["train.lrr=1"], "train.lrr: no such key in params.yaml; did you mean train.lr"),
        (["lr=1"], "did you mean train.lr?"),
        (["zzz=1"], "see the keys in params.yaml"),
        (["train=1"], "is a section; expected a key in it: train.seed"),
        (["train.lr=-1,2"], "train.lr=-1: Input should be greater than 0"),
        (["policy.network=cnn"], "policy.network=cnn: Input should be 'mlp', 'unet'"),
        (["train.lr=interval(1,2)"], "python -m pipeline search"),
        (["+train.x=1"], "expected key=value of params.yaml"),
        (["~train.lr"], "expected key=value of params.yaml"),
        (["train.lr"], "expected key=value or key=value,value"),
        (["other.yaml:train.lr=1"], "not understood"),
        (
            ["train.noise_min_rad=1"],
            "train.noise_min_rad=1: Value error, noise_min_rad 1.0 exceeds",
        ),
        (["train.lr=1", "train.lr=2"], "given twice"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(params: Params, given: list[str], words: str) -> None:
    with pytest.raises(SettingError) as caught:
        grid(given, params)
    assert words in str(caught.value)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    lr=st.floats(1e-9, 1e3),
    epochs=st.integers(1, 10**6),
    channels=st.lists(st.integers(1, 512), min_size=1),
)
def test_handed_on_numbers_keep_every_bit(
    params: Params, lr: float, epochs: int, channels: list[int]
) -> None:
    wanted = {"train.lr": lr, "train.num_epochs": epochs, "policy.unet_channels": channels}
    (point,) = grid([f"{key}={json.dumps(value)}" for key, value in wanted.items()], params)
    assert point.values == wanted
    (again,) = grid(point.settings, params)
    assert math.isclose(again.values["train.lr"], lr, rel_tol=0, abs_tol=0)


def test_nested_keys(params: Params) -> None:
    (point,) = grid(["robot.servo.damping_ratio=0.5"], params)
    assert with_values(params, point.values).robot.servo.damping_ratio == 0.5
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}}) == {"a.b": 1, "a.c.d": [2]}

"""Distributions are parsed, and both bounds are checked before anything runs."""

from __future__ import annotations

import optuna
import pytest

from pipeline.experiments.grid import SettingError
from pipeline.experiments.search_space import Choice, Range, draw_point, parse_space
from pipeline.params import Params


def test_every_form(params: Params) -> None:
    space = parse_space(
        [
            "train.lr=loguniform(1e-5, 1e-3)",
            "train.noise_probability=uniform(0,0.9)",
            "policy.mlp_width=logint(64,512)",
            "policy.mlp_blocks=int(1,6)",
            "policy.network=mlp,unet",
            "train.batch_size=choice(32,64)",
            "policy.unet_channels=[32,64],[64,128]",
        ],
        params,
    )
    assert space["train.lr"] == Range(1e-5, 1e-3, log=True, integer=False)
    assert space["policy.mlp_width"] == Range(64, 512, log=True, integer=True)
    assert space["policy.network"] == Choice({"mlp": "mlp", "unet": "unet"})
    assert space["train.batch_size"] == Choice({"32": 32, "64": 64})
    named = parse_space(["task.object='a=b','c=d'"], params)
    assert named["task.object"] == Choice({"a=b": "a=b", "c=d": "c=d"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        values = draw_point(space, study.ask()).values
        assert 1e-5 <= values["train.lr"] <= 1e-3
        assert values["policy.mlp_width"] in range(64, 513)
        assert values["policy.unet_channels"] in ([32, 64], [64, 128])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lr=normal(0,1)", "normal is unknown; expected uniform(low,high)"),
        ("train.lr=uniform(1)", "expected two numbers"),
        ("train.lr=uniform(a,b)", "expected two numbers"),
        ("train.lr=loguniform(0,1)", "expected 0 < low < high, got 0 and 1"),
        ("train.lr=uniform(2,1)", "expected low < high"),
        ("train.num_epochs=int(1,2.5)", "expected integers"),
        ("train.num_epochs=uniform(1.5,2.5)", "train.num_epochs=1.5: Input should be a valid"),
        (
            "train.ema_max_decay=uniform(0,1)",
            "train.ema_max_decay=1.0: Input should be less",
        ),
        ("train.lrr=uniform(0,1)", "did you mean train.lr"),
        ("policy.network=mlp,cnn", "policy.network=cnn"),
    ],
)
def test_invalid_distributions_are_rejected(params: Params, setting: str, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_space([setting], params)
    assert words in str(caught.value)


def test_nothing_to_search(params: Params) -> None:
    with pytest.raises(SettingError, match="nothing to search"):
        parse_space([], params)
    with pytest.raises(SettingError, match="given twice"):
        parse_space(["train.lr=1e-4,1e-3", "train.lr=uniform(0.1,1)"], params)

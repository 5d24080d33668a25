"""The sections policy and train, without a file: numbers that contradict each other are refused."""

from __future__ import annotations

import pytest

from pipeline.params import Params, ParamsError


def test_inference_takes_no_more_steps_than_training_has(params: Params) -> None:
    steps = params.policy.num_train_steps
    assert params.override("policy", num_inference_steps=steps)
    with pytest.raises(ParamsError, match=f"{steps + 1} exceeds num_train_steps {steps}"):
        params.override("policy", num_inference_steps=steps + 1)


def test_noise_is_a_range(params: Params) -> None:
    with pytest.raises(ParamsError, match=r"noise_min_rad 0\.5 exceeds noise_max_rad"):
        params.override("train", noise_min_rad=0.5)


def test_rollouts_that_never_happen_cannot_select(params: Params) -> None:
    assert params.override("train", select="val_loss", rollout_every=0)
    with pytest.raises(ParamsError, match="select rollout needs rollout_every"):
        params.override("train", rollout_every=0)


def test_a_batch_that_is_still_to_be_chosen_is_no_number(params: Params) -> None:
    assert params.train.batch_windows == params.train.batch_size
    with pytest.raises(ParamsError, match=r"train\.batch_size is auto"):
        _ = params.override("train", batch_size="auto").train.batch_windows


@pytest.mark.parametrize(
    "values", [{"num_inference_steps": 10}, {"num_inference_steps": 2, "prediction": "epsilon"}]
)
def test_mip_has_two_passes_that_predict_the_clean_chunk(
    params: Params, values: dict[str, object]
) -> None:
    params.override("policy", sampler="mip", num_inference_steps=2)
    with pytest.raises(ParamsError, match="expected prediction sample and num_inference_steps 2"):
        params.override("policy", sampler="mip", **values)

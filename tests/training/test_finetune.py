from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.layout import Layout, LayoutError
from pipeline.params import Params
from pipeline.policy.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from pipeline.policy.model import PolicyModel
from pipeline.training.finetune import FinetuneError, exceeding, load_initial
from tests.fixtures.policy import make_fitted, make_geometry


@pytest.fixture
def path(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best_model.pt", checkpoint)
    return tmp_path / "best_model.pt"


def test_weights_and_ranges_are_the_checkpoint_s(
    params: Params, layout: Layout, path: Path, checkpoint: Checkpoint
) -> None:
    model = PolicyModel(params.policy, layout, make_geometry(params))
    assert load_initial(path, model).config == checkpoint.config
    torch.testing.assert_close(dict(model.state_dict()), checkpoint.ema)


def test_what_only_sampling_reads_may_differ(params: Params, layout: Layout, path: Path) -> None:
    chosen = params.override("policy", num_inference_steps=2, clip=1.5)
    load_initial(path, PolicyModel(chosen.policy, layout, make_geometry(params)))


def test_another_network_layout_or_object_is_refused_by_name(
    params: Params, layout: Layout, path: Path
) -> None:
    geometry = make_geometry(params)
    wide = params.override("policy", mlp_width=512, horizon=8)
    with pytest.raises(FinetuneError, match=r"policy.horizon is 16 there and 8 here"):
        load_initial(path, PolicyModel(wide.policy, layout, geometry))
    mip = params.override("policy", sampler="mip", num_inference_steps=2)
    with pytest.raises(FinetuneError, match=r"policy.sampler is ddim there and mip here"):
        load_initial(path, PolicyModel(mip.policy, layout, geometry))
    longer = replace(geometry, grasp_offset_m=geometry.grasp_offset_m * 2)
    with pytest.raises(FinetuneError, match="object length"):
        load_initial(path, PolicyModel(params.policy, layout, longer))
    cup = Layout.from_params(params.override("task", object="cup"))
    with pytest.raises(LayoutError):
        load_initial(path, PolicyModel(params.policy, cup, geometry))


def test_a_checkpoint_of_other_scripts_is_refused_with_the_reason(
    params: Params, layout: Layout, tmp_path: Path
) -> None:
    foreign = {"model": {"w": torch.zeros(2)}, "ema": {"w": torch.zeros(2)}, "config": {}}
    torch.save(foreign, tmp_path / "theirs.pt")
    model = PolicyModel(params.policy, layout, make_geometry(params))
    with pytest.raises(CheckpointError, match="earlier scripts"):
        load_initial(tmp_path / "theirs.pt", model)


def test_the_reach_of_new_actions_is_told_in_units_of_the_old_range(
    params: Params, layout: Layout
) -> None:
    model = make_fitted(params, layout, np.random.default_rng(1))
    wider = make_fitted(params, layout, np.random.default_rng(1))
    assert exceeding(model, wider) == pytest.approx(1.0)
    wider.codec.scale.radius *= 1.5
    assert exceeding(model, wider) == pytest.approx(1.5)

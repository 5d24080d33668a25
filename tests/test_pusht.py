"""The example Push-T: observations and protocol, and the whole way where gym-pusht is installed.

PUSHT_ZARR may name the published demonstrations; what needs them is skipped otherwise.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.pusht import environment, evaluate, mirror, recipe, train
from pipeline.dataset.generic import load_generic
from pipeline.dataset.zarr_arrays import open_group
from tests.fixtures.generic import EPISODES, STEPS, write_generic

DATA = os.environ.get("PUSHT_ZARR")
Array = NDArray[np.float64]
START = [235, 124, 335, 128]
GOAL = np.array([300.0, 480.0, 256.0, 256.0, np.pi / 4])
SIDEWAYS = np.array([0.0, 0.0, 40.0, 0.0, 0.0])


class Still:
    """A policy that keeps the agent where it is."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.seen: list[dict[str, Any]] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, observation: dict[str, Any]) -> Any:
        self.seen.append(observation)
        return observation["state[0:2]"]


@pytest.fixture
def gym() -> Any:
    pytest.importorskip("gym_pusht", reason="the extra `pusht` is not installed")
    return environment.make_environment()


def write_pusht(path: Path) -> Path:
    rng, rows = np.random.default_rng(0), EPISODES * STEPS
    state = rng.uniform([50, 50, 100, 100, 0], [450, 450, 400, 400, 6], (rows, 5))
    points = np.stack([environment.keypoints(row[2:]) for row in state]).astype(np.float32)
    action = rng.uniform(0, 512, (rows, 2)).astype(np.float32)
    return write_generic(path, state=state, keypoint=points, action=action)


def test_key_points_turn_and_move_with_the_block() -> None:
    np.testing.assert_allclose(
        environment.keypoints(np.array([100.0, 50.0, 0.0])),
        environment.KEYPOINTS + np.array([100, 50]),
    )
    turned = environment.keypoints(np.array([0.0, 0.0, np.pi / 2]))
    x, y = environment.KEYPOINTS.T
    np.testing.assert_allclose(turned, np.stack([-y, x], axis=1), atol=1e-9)


def test_starts_are_those_of_diffusion_policy_s_environment() -> None:
    # numpy.random.RandomState(100000), whose numbers NumPy never changes.
    start = environment.start_state(100000)
    np.testing.assert_array_equal(start[:4], START)
    assert not np.array_equal(start, environment.start_state(100001))


def test_a_policy_sees_what_the_recipe_trains_on() -> None:
    seen = environment.observation(environment.start_state(100000))
    assert list(seen) == list(recipe.params().dataset.state_arrays)
    assert [len(values) for values in seen.values()] == [18, 2]


def test_the_interval_is_that_of_the_mean_over_starts() -> None:
    scores = np.tile(np.linspace(0, 1, 50), (10, 1))
    low, high = evaluate.interval(scores)
    width = 1.96 * scores[0].std() / np.sqrt(50)
    assert 0.5 - low == pytest.approx(width, rel=0.1) and high - 0.5 == pytest.approx(
        width, rel=0.1
    )


def test_a_folder_stands_for_its_last_checkpoints(tmp_path: Path) -> None:
    for epoch in (5, 10, 100, 95):
        (tmp_path / f"checkpoint_epoch_{epoch}.pt").touch()
    names = [path.name for path in evaluate.last_checkpoints(tmp_path, 2)]
    assert names == ["checkpoint_epoch_95.pt", "checkpoint_epoch_100.pt"]
    with pytest.raises(SystemExit, match="expected a folder of stage train"):
        evaluate.last_checkpoints(tmp_path / "none", 2)


def test_the_score_is_the_largest_coverage(gym: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    far, at_goal = Still(), Still()
    # The environment turns the block about its centre of gravity, which moves its position.
    reached, _ = gym.reset(options={"reset_to_state": GOAL})
    start = 2 * GOAL - reached
    monkeypatch.setattr(environment, "start_state", lambda seed: start)
    assert environment.roll_out(gym, at_goal, 7, 20) == 1.0
    assert len(at_goal.seen) == 1 and at_goal.seeds == [7], "the episode ends with success"
    monkeypatch.setattr(environment, "start_state", lambda seed: start + SIDEWAYS)
    assert 0.1 < environment.roll_out(gym, far, 7, 20) < 0.9
    assert len(far.seen) == 20


def test_a_mirror_image_is_the_same_task(gym: Any) -> None:
    def reset_to(wanted: Array) -> Array:
        # The environment turns the block about its centre of gravity, which moves its position.
        reached, _ = gym.reset(options={"reset_to_state": wanted})
        return np.asarray(gym.reset(options={"reset_to_state": 2 * wanted - reached})[0])

    for seed in range(3):
        start = environment.start_state(100000 + seed)[None]
        start[:, 4] %= 2 * np.pi
        actions = np.linspace(start[0, :2], start[0, 2:4] + [15, 5], 40)
        seen, scores = [], []
        for first, commands in (
            (start, actions), (mirror.mirrored_state(start), mirror.mirrored_points(actions)),
        ):  # fmt: skip
            state = reset_to(first[0])
            np.testing.assert_allclose(state[2:4], first[0, 2:4], atol=1e-3)
            run = [gym.step(command)[:2] for command in commands]
            seen.append(np.array([state, *(each for each, _ in run)]))
            scores.append([reward for _, reward in run])
        assert np.ptp(seen[0][:, 2:], axis=0).max() > 5, "the block was pushed"
        image = mirror.mirrored_state(seen[0])
        turned = np.abs(np.angle(np.exp(1j * (image[:, 4] - seen[1][:, 4]))))
        np.testing.assert_allclose(image[:, :4], seen[1][:, :4], atol=1.0)
        assert turned.max() < 0.02
        np.testing.assert_allclose(*scores, atol=0.02)


def test_mirror_images_follow_the_demonstrations(tmp_path: Path) -> None:
    source, out = write_pusht(tmp_path / "x.zarr"), tmp_path / "mirrored.zarr"
    mirror.add_mirrored(source, out)
    twice = load_generic(out, recipe.params().dataset)
    once = load_generic(source, recipe.params().dataset)
    half = once.num_steps
    assert twice.num_episodes == 2 * once.num_episodes and twice.num_steps == 2 * half
    np.testing.assert_array_equal(twice.state[:half], once.state[:])
    np.testing.assert_array_equal(
        np.diff(twice.episode_ends), np.tile(np.diff(once.episode_ends, prepend=0), 2)[1:]
    )
    agent = np.asarray(once.state[:])[:, 18:]
    np.testing.assert_allclose(twice.state[half:][:, 18:], 512 - agent[:, ::-1], atol=1e-4)
    # A key point and the block's centre keep their distance, and images of images are originals.
    image = mirror.mirrored_state(np.asarray(open_group(out)["data/state"][half:], float))
    np.testing.assert_allclose(image, open_group(source)["data/state"][:], atol=1e-4)


@pytest.mark.parametrize(
    "change", ["train.no=1", "nothing", "no.seed=1", "train.seed=1,2", "train.seed=x"]
)
def test_a_change_of_no_parameter_is_refused(change: str) -> None:
    with pytest.raises(SystemExit, match="expected a parameter"):
        train.changed(recipe.params(), [change])


def test_changes_of_one_section_count_together() -> None:
    changes = ["policy.sampler=mip", "policy.num_inference_steps=2", "train.seed=3"]
    params = train.changed(recipe.params(), changes)
    assert (params.policy.sampler, params.train.seed) == ("mip", 3)


def test_it_trains_and_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    small = {"mlp_width": 16, "mlp_blocks": 1, "step_embedding": 16, "num_inference_steps": 4}
    quick = {"warmup_steps": 2, "save_freq": 1}
    monkeypatch.setitem(recipe.CHANGES, "policy", recipe.CHANGES["policy"] | small)
    monkeypatch.setitem(recipe.CHANGES, "train", recipe.CHANGES["train"] | quick)
    monkeypatch.setitem(
        recipe.CHANGES, "dataset", recipe.CHANGES["dataset"] | {"val_fraction": 0.3}
    )
    data, out = tmp_path / "mirrored.zarr", tmp_path / "out"
    mirror.main([str(write_pusht(tmp_path / "x.zarr")), "--out", str(data)])
    train.main(["--data-path", str(data), "--out", str(out), "--set", "train.num_epochs=3"])
    assert "s of CPU time" in capsys.readouterr().out
    pytest.importorskip("gym_pusht", reason="the extra `pusht` is not installed")
    scores = tmp_path / "scores.json"
    evaluate.main(
        [str(out), "--last", "2", "--episodes", "2", "--steps", "9", "--passes", "2",
         "--out", str(scores)]
    )  # fmt: skip
    found = json.loads(scores.read_text())
    assert [Path(name).stem[-1] for name in found["checkpoints"]] == ["2", "3"]
    assert 0 <= found["ci95"][0] <= found["mean"] <= found["ci95"][1] <= 1
    assert "mean of 2 checkpoints" in capsys.readouterr().out


@pytest.mark.skipif(DATA is None, reason="PUSHT_ZARR names no demonstrations")
def test_key_points_are_those_of_the_published_data() -> None:
    group = open_group(Path(DATA or ""))
    state, points = group["data/state"][::50].astype(float), group["data/keypoint"][::50]
    made = np.stack([environment.keypoints(row[2:]) for row in state])
    assert np.percentile(np.abs(made - points), 99) < 0.1
    dataset = load_generic(Path(DATA or ""), recipe.params().dataset)
    assert (dataset.num_episodes, dataset.num_steps) == (206, 25650)
    assert (dataset.layout.state_dim, dataset.layout.action_dim) == (20, 2)

"""Histograms are pictures, and the same episodes give the same bytes."""

import numpy as np
from PIL import Image

from pipeline.data.pictures import draw_histograms


def test_a_picture_shows_something_and_is_repeatable(tmp_path):
    values = list(np.random.default_rng(0).normal(5, 1, 50))
    for name in ("a", "b"):
        draw_histograms(tmp_path / f"{name}.png", [5, 6, 7], values, values)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1000, 300)
        assert len(picture.convert("RGB").getcolors(100_000)) > 10


def test_one_episode_is_enough(tmp_path):
    draw_histograms(tmp_path / "a.png", [5], [1.0], [0.5])
    assert (tmp_path / "a.png").stat().st_size > 1000

"""Histograms are drawn, and the same episodes give the same bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.validation.multimodality import Modes
from pipeline.validation.plots import _edges, draw_histograms

MODES = Modes(20, 8, 0.01, 2.0, 3, 0.5, (0.1, 0.2), (0.1, 0.9), ("b",), 20.0, "several ways")


@pytest.mark.parametrize(("modes", "width"), [(None, 990), (MODES, 1320)])
def test_histograms_are_not_empty_and_are_repeatable(tmp_path, modes, width):
    values = list(np.random.default_rng(0).normal(5, 1, 50))
    for name in ("a", "b"):
        draw_histograms(tmp_path / f"{name}.png", [5, 6, 7], values, values, modes)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (width, 300)
        assert len(picture.convert("RGB").getcolors(100_000)) > 10


def test_one_episode_is_enough(tmp_path):
    draw_histograms(tmp_path / "a.png", [5], [1.0], [0.5], None)
    assert (tmp_path / "a.png").stat().st_size > 1000


@given(st.lists(st.integers(2, 10**6), min_size=1, max_size=50))
def test_each_whole_number_is_in_the_middle_of_a_bar(samples):
    edges = _edges(np.array(samples))
    assert len(edges) <= 33
    assert np.histogram(samples, edges)[0].sum() == len(samples)
    assert (edges % 1 == 0.5).all()

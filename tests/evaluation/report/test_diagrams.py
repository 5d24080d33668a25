"""Inline SVG follows the theme, shares no identifiers, repeats itself, and gives n in captions."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes

from pipeline.dataset.store import Dataset
from pipeline.evaluation.report import diagrams, panels
from pipeline.layout import Layout
from pipeline.params import Params


def _draw(axis: Axes) -> None:
    axis.scatter([1, 2], [3, 4], c=panels.GOOD, label="a < b & c")
    axis.set_xlabel("metres")


def _identifiers(svg: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', svg))


def test_a_diagram_is_svg_that_follows_the_page_s_colours() -> None:
    svg = diagrams.inline(_draw, "first, n = 2").svg
    ElementTree.fromstring(svg)
    assert "var(--good)" in svg
    assert "var(--ink)" in svg
    assert panels.GOOD.lower() not in svg.lower()
    assert "metres" in svg, "text stays text"
    assert "a &lt; b &amp; c" in svg
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert " width=" not in head


def test_diagrams_of_one_page_have_distinct_identifiers() -> None:
    first, second = (diagrams.inline(_draw, f"{name}, n = 2").svg for name in ("one", "two"))
    assert not _identifiers(first) & _identifiers(second)
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', first)
    assert used
    assert set(used) <= _identifiers(first)


def test_the_same_data_gives_the_same_svg() -> None:
    assert diagrams.inline(_draw, "x, n = 2").svg == diagrams.inline(_draw, "x, n = 2").svg


def test_the_statistics_cover_every_episode(params: Params) -> None:
    layout = Layout.from_params(params)
    state = np.zeros((7, 25), np.float32)
    state[3:, 0] = [0.0, 0.1, 0.2, 0.3]
    dataset = Dataset(
        Path("x"), state, state[:, :6], np.array([3, 7]), np.array([0, 2], np.int8), 30.0,
        layout, {}, {},
    )  # fmt: skip
    found = diagrams.episode_statistics(dataset, 30.0)
    assert len(found) == 3
    assert all("n = 2 episodes" in figure.caption for figure in found)


def test_robustness_caption_states_the_number_of_rollouts_per_line() -> None:
    rows = {
        "gains_0.1": {"n": 50, "success_collision_free": 0.98, "ci95_collision_free": [0.9, 1.0]},
        "latency": {"n": 200, "success_collision_free": 0.5, "ci95_collision_free": [0.4, 0.6]},
    }
    (figure,) = diagrams.robustness(rows)
    assert figure.caption.endswith("n = 50 or 200 each")
    assert "gains 0.1" in figure.svg

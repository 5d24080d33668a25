"""Errors carry codes that have a hint, and a log line of a recording's parts stays short."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.recordings.formats.diffusion_policy_zarr import ZarrRecordingError
from pipeline.recordings.formats.json_yaml import JsonYamlError
from pipeline.recordings.formats.lerobot import LerobotError
from pipeline.recordings.formats.npz import NpzError
from pipeline.recordings.recording import RecordingError, Source
from pipeline.recordings.rosbag.files import BagError
from pipeline.validation.findings import BAD_FILES

ERRORS = [RecordingError, BagError, JsonYamlError, LerobotError, NpzError, ZarrRecordingError]


def test_every_error_of_a_reader_is_listed_here():
    assert set(RecordingError.__subclasses__()) == set(ERRORS[1:])


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_a_reader_means_a_bad_file(error):
    assert error("a.bag: cannot be read").code in BAD_FILES


def test_a_line_of_a_log_holds_no_arrays(candidate, segment):
    rows = np.zeros((10_000, 6))
    long = candidate(segments=(segment(t=rows[:, 0], joint_pos=rows, joint_vel=rows),))
    assert len(repr(long)) < 1000


def test_a_source_leads_to_its_file():
    assert Source("day_1/a.mcap", "0" * 64, "mcap").file == Path("day_1") / "a.mcap"

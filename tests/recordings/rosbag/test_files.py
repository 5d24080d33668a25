"""The files of a recording are found in their order, whatever metadata.yaml says."""

import shutil

import numpy as np
import pytest

from pipeline.recordings.rosbag.files import BagError, is_split, is_storage, storage_files
from pipeline.recordings.rosbag.writer import BagWriter

from .ros_messages import NAMES, record

STORAGES = ["mcap", "sqlite3"]


def metadata(folder, change):
    path = folder / "metadata.yaml"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "rosbag2_bagfile_information: 7\n",
        lambda text: "\t: [",
        lambda text: text.replace("- bag.mcap", "- /home/robot/old/place/bag.mcap"),
        lambda text: text.replace("- bag.mcap", "- renamed.mcap"),
        *[
            lambda text, number=number: text.replace("version: 8", f"version: {number}")
            for number in (2, 3, 4, 5, 9, 10)
        ],
        lambda text: text.replace("message_count: 3", "message_count: 0"),
    ],
)
def test_metadata_that_is_old_stale_or_damaged_loses_nothing(read_all, tmp_path, change):
    folder = record(tmp_path / "bag", "mcap")
    metadata(folder, change)
    assert len(read_all(folder)) == 18


def split(tmp_path, storage, parts=11):
    """A recording of 33 joint states in 11 files."""
    folder = tmp_path / "long"
    folder.mkdir()
    suffix = ".mcap" if storage == "mcap" else ".db3"
    for index in range(parts):
        with BagWriter(tmp_path / f"part_{index}", storage) as bag:
            for sample in range(index * 3, index * 3 + 3):
                bag.joint_state((sample + 1) * 10**9, NAMES, np.full(2, sample), np.zeros(2))
        shutil.copy(tmp_path / f"part_{index}" / f"part_{index}{suffix}",
                    folder / f"long_{index}{suffix}")  # fmt: skip
    return folder


@pytest.mark.parametrize("storage", STORAGES)
def test_a_split_recording_is_read_in_order_with_or_without_metadata(read_all, tmp_path, storage):
    folder = split(tmp_path, storage)
    messages = read_all(folder)
    assert [message.joint_pos[0] for message in messages] == list(range(33))
    suffix = ".mcap" if storage == "mcap" else ".db3"
    names = "".join(f"  - long/long_{index}{suffix}\n" for index in range(11))
    text = f"rosbag2_bagfile_information:\n  relative_file_paths:\n{names}"
    (folder / "metadata.yaml").write_text(text)
    assert len(read_all(folder)) == 33
    (folder / f"long_4{suffix}").unlink()
    with pytest.raises(BagError, match=f"names long_4{suffix}, which is not there"):
        read_all(folder)
    assert len(read_all(folder, salvage=True)) == 30


def test_parts_are_sorted_by_number(tmp_path):
    folder = tmp_path / "long"
    folder.mkdir()
    for number in (10, 9, 0, 2):
        (folder / f"long_{number}.mcap").touch()
    names = ["long_0.mcap", "long_2.mcap", "long_9.mcap", "long_10.mcap"]
    assert [file.name for file in storage_files(folder)] == names
    assert is_split(folder)


def test_bags_with_other_numbers_are_separate_recordings(tmp_path):
    for name in ("run_1.mcap", "run_2.mcap"):
        (tmp_path / name).touch()
    assert not is_split(tmp_path)


def test_a_folder_without_a_storage_file_is_refused(tmp_path):
    (tmp_path / "metadata.yaml").touch()
    with pytest.raises(BagError, match=r"holds no \.mcap or \.db3 file"):
        storage_files(tmp_path)


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag", "a.mcap.zstd", "a.db3.zstd"])
def test_bags_are_known_by_their_suffix(tmp_path, name):
    assert is_storage(tmp_path / name)
    assert not is_storage(tmp_path / f"{name}.txt")

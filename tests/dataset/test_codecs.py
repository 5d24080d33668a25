"""No pickle is loaded from a zarr, whatever its metadata say."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import Blosc, Delta

from pipeline.dataset.codecs import CodecError, require_plain
from pipeline.dataset.zarr_arrays import StoreError, open_group, read_array
from pipeline.errors import PipelineError


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def array(tmp_path, **options):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    created = group.create_array("x", shape=(4,), chunks=(4,), dtype="float64", **options)
    created[...] = np.arange(4.0)
    return tmp_path / "a.zarr"


@pytest.mark.parametrize(
    "change",
    [
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"compressor": {"id": "pickle", "protocol": 5}},
        {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}]},
        {"dtype": "|O", "filters": [{"id": "json2"}]},
    ],
)
def test_an_array_that_would_be_unpickled_is_refused(tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    path = array(tmp_path, compressors=None)
    metadata = path / "x" / ".zarray"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), **change}))
    (path / "x" / "0").write_bytes(pickle.dumps(np.array([Bomb()] * 4, object)))
    with pytest.raises(PipelineError):
        read_array(open_group(path), "x", path)
    assert not Path("owned").exists()


def test_unknown_codecs_are_named(tmp_path):
    path = array(tmp_path, compressors=None)
    metadata = path / "x" / ".zarray"
    change = {"compressor": {"id": "jenkins_lookup3"}, "filters": [{"id": "base64"}]}
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), **change}))
    with pytest.raises(CodecError, match="x is encoded with base64, jenkins_lookup3, which is"):
        read_array(open_group(path), "x", path)


@pytest.mark.parametrize("options", [
    {"compressors": Blosc(cname="zstd", clevel=5, shuffle=Blosc.BITSHUFFLE)},
    {"filters": [Delta(dtype="float64")]},
])  # fmt: skip
def test_plain_codecs_are_read(tmp_path, options):
    path = array(tmp_path, **options)
    np.testing.assert_array_equal(read_array(open_group(path), "x", path), np.arange(4.0))


@pytest.mark.parametrize("key", ["codecs", "index_codecs"])
def test_format_3_with_shards_is_plain_if_the_codecs_inside_them_are(tmp_path, key):
    group = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=3)
    created = group.create_array("x", shape=(8,), chunks=(2,), shards=(4,), dtype="float32")
    require_plain(created, "x", tmp_path)
    metadata = tmp_path / "b.zarr/x/zarr.json"
    content = json.loads(metadata.read_text())
    content["codecs"][0]["configuration"][key] = [{"name": "vlen-bytes"}]
    metadata.write_text(json.dumps(content))
    error, words = CodecError, "x is encoded with vlen-bytes, which is not"
    if key == "index_codecs" and tuple(map(int, zarr.__version__.split(".")[:2])) >= (3, 4):
        error, words = StoreError, "x is not an array of numbers .*VLenBytes"  # zarr's own words
    with pytest.raises(error, match=words):
        read_array(open_group(tmp_path / "b.zarr"), "x", tmp_path)


def test_text_is_refused(tmp_path):
    group = zarr.open_group(tmp_path / "c.zarr", mode="w", zarr_format=2)
    created = group.create_array("x", shape=(2,), dtype="S4")
    with pytest.raises(CodecError, match=r"x holds .*expected numbers"):
        require_plain(created, "x", tmp_path)

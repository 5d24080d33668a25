"""Each distribution's version of a type is decoded by its own definition and by no other."""

import numpy as np
import pytest
from rosbags.serde import SerdeError
from rosbags.typesys import Stores

from pipeline.recordings.rosbag.definitions import (
    CONTROLLER_STATES,
    FEEDBACKS,
    DefinitionError,
    bundled_stores,
    own_store,
    own_types,
)
from pipeline.recordings.rosbag.messages import (
    CONTROLLER_STATE,
    DISPLAY_TRAJECTORY,
    JOINT_TRAJECTORY,
    TRACKING_FEEDBACK,
    typestore,
)


def filled(store, msgtype, depth=0):
    """A message of a type with something in every field."""
    cls = store.types[msgtype]
    values = {}
    for name, (kind, detail) in store.fielddefs[msgtype][1]:
        values[name] = _value(store, kind.name, detail, depth)
    return cls(**values)


def _value(store, kind, detail, depth):
    if kind == "BASE":
        text = detail[0]
        return "x" if text == "string" else text == "bool" if text == "bool" else 1
    if kind == "NAME":
        return filled(store, detail, depth + 1)
    (inner, inner_detail), size = detail
    if inner.name == "BASE" and inner_detail[0] != "string":
        kinds = {"byte": "uint8", "char": "uint8"}
        return np.ones(size or 2, kinds.get(inner_detail[0], inner_detail[0]))
    return [_value(store, inner.name, inner_detail, depth) for _ in range(size or 1)]


@pytest.mark.parametrize("msgtype", [CONTROLLER_STATE, TRACKING_FEEDBACK, DISPLAY_TRAJECTORY])
def test_each_version_is_decoded_by_its_own_definition_only(msgtype):
    stores = bundled_stores(msgtype)
    assert len(stores) == {CONTROLLER_STATE: len(CONTROLLER_STATES),
                           TRACKING_FEEDBACK: len(FEEDBACKS)}.get(msgtype, 2)  # fmt: skip
    for mine in stores:
        raw = mine.serialize_cdr(filled(mine, msgtype), msgtype)
        for other in stores:
            if other is mine:
                other.deserialize_cdr(raw, msgtype)
            else:
                with pytest.raises((SerdeError, AssertionError, ValueError, IndexError)):
                    other.deserialize_cdr(raw, msgtype)


def test_types_without_a_bundled_definition_have_no_store():
    assert bundled_stores("test_msgs/msg/Strings") == ()


def definitions(tmp_path, text="uint8 type\nfloat64[] dimensions\nstring colour\n"):
    folder = tmp_path / "share" / "shape_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "SolidPrimitive.msg").write_text(text)
    return tmp_path / "share"


def test_the_user_s_definitions_are_used_for_the_types_they_are_part_of(tmp_path):
    folder = definitions(tmp_path)
    assert list(own_types(folder)) == ["shape_msgs/msg/SolidPrimitive"]
    store = own_store(folder, DISPLAY_TRAJECTORY)
    message = filled(store, DISPLAY_TRAJECTORY)
    raw = store.serialize_cdr(message, DISPLAY_TRAJECTORY)
    read = store.deserialize_cdr(raw, DISPLAY_TRAJECTORY)
    attached = read.trajectory_start.attached_collision_objects[0]
    assert attached.object.primitives[0].colour == "x"
    assert own_store(folder, JOINT_TRAJECTORY) is None
    for bundled in bundled_stores(DISPLAY_TRAJECTORY):
        with pytest.raises((SerdeError, AssertionError, ValueError)):
            bundled.deserialize_cdr(raw, DISPLAY_TRAJECTORY)


def test_definitions_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DefinitionError, match=r"holds no \.msg files"):
        own_types(tmp_path)
    folder = definitions(tmp_path, "][ what\n")
    with pytest.raises(DefinitionError, match=r"SolidPrimitive\.msg: cannot be parsed"):
        own_store(folder, DISPLAY_TRAJECTORY)


def test_a_definition_that_names_an_unknown_type_is_refused(tmp_path):
    folder = definitions(tmp_path, "nobody_msgs/Unheard of\n")
    store = own_store(folder, DISPLAY_TRAJECTORY)
    with pytest.raises(Exception, match="nobody_msgs"):
        filled(store, "shape_msgs/msg/SolidPrimitive")


def test_a_plan_of_foxy_differs_from_one_of_humble():
    fields = [dict(typestore(each).fielddefs["shape_msgs/msg/SolidPrimitive"][1])
              for each in (Stores.ROS2_FOXY, Stores.ROS2_HUMBLE)]  # fmt: skip
    assert ["polygon" in each for each in fields] == [False, True]
    assert typestore() is typestore()

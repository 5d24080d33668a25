"""Roles come from names, then from types that occur once; other topics get a reason."""

import pytest

from pipeline.recordings.rosbag import messages as m
from pipeline.recordings.topics import TopicCount, choose_topics


@pytest.fixture
def choose(params):
    def choose(*topics, **rules):
        counts = [TopicCount(*topic) if len(topic) == 3 else TopicCount(*topic, 5)
                  for topic in topics]  # fmt: skip
        reading = choose_topics(counts, params.override("ingest", **rules).ingest, "pen")
        return reading.mode, {use.topic: use for use in reading.uses}

    return choose


PLAN = ("/display_planned_path", m.DISPLAY_TRAJECTORY)
JOINTS = ("/joint_states", m.JOINT_STATE)
POSE = ("/pen_pose", m.POSE_STAMPED)


def test_the_default_names_have_their_roles_in_any_namespace(choose):
    for prefix in ("", "/robot/left"):
        mode, uses = choose(*((prefix + name, kind) for name, kind in (PLAN, JOINTS, POSE)))
        assert mode == "plans"
        assert [use.role for use in uses.values()] == ["plan", "joints", "object"]


@pytest.mark.parametrize("kind", [m.DISPLAY_TRAJECTORY, m.ROBOT_TRAJECTORY, m.JOINT_TRAJECTORY])
def test_the_only_topic_of_a_plan_s_type_is_taken_whatever_its_name(choose, kind):
    mode, uses = choose(("/planner/out", kind), JOINTS)
    assert (mode, uses["/planner/out"].role) == ("plans", "plan")
    assert choose(("/planner/out", kind), JOINTS, discover_topics=False)[0] == "joints"


def test_of_two_topics_of_a_plan_s_type_none_is_chosen(choose):
    two = (("/a", m.DISPLAY_TRAJECTORY), ("/b", m.DISPLAY_TRAJECTORY))
    mode, uses = choose(*two)
    assert mode is None
    assert uses["/a"].note == "not read: 2 topics carry this; name one in ingest.plan_topic"
    assert choose(*two, plan_topic="b")[1]["/b"].role == "plan"


def test_a_topic_without_messages_is_not_a_plan(choose):
    mode, _ = choose((*PLAN, 0), JOINTS)
    assert mode == "joints"


def test_a_pose_is_the_object_s_only_by_its_name(choose):
    _, uses = choose(PLAN, ("/goal_pose", m.POSE_STAMPED), ("/tracker/Pen", m.POSE_STAMPED))
    assert uses["/goal_pose"].role is None
    assert "name it in ingest.object_topic if it is the pose of the pen" in uses["/goal_pose"].note
    assert uses["/tracker/Pen"].role == "object"


def test_a_name_with_a_wrong_type_is_reported(choose):
    _, uses = choose(PLAN, ("/pen_pose", "std_msgs/msg/String"))
    assert uses["/pen_pose"].has_wrong_type
    assert "expected geometry_msgs/msg/PoseStamped (ingest.object_topic)" in uses["/pen_pose"].note


def test_tracking_prefers_feedback_and_reads_every_controller(choose):
    feedback = ("/arm/follow_joint_trajectory/_action/feedback", m.TRACKING_FEEDBACK)
    states = [(f"/{name}/controller_state", m.CONTROLLER_STATE) for name in ("arm", "gripper")]
    mode, uses = choose(*states, JOINTS)
    assert mode == "tracking"
    assert [use.role for use in uses.values()] == ["tracking", "tracking", None]
    mode, uses = choose(feedback, *states)
    assert [use.role for use in uses.values()] == ["tracking", None, None]
    assert "holds more" in uses["/arm/controller_state"].note
    _, uses = choose(*states, tracking_topic="gripper/controller_state")
    assert uses["/arm/controller_state"].role is None


def test_a_parameter_chooses_what_becomes_an_episode(choose):
    held = (PLAN, JOINTS, ("/c/state", m.CONTROLLER_STATE))
    for wanted in ("plans", "tracking", "joints"):
        assert choose(*held, episodes_from=wanted)[0] == wanted
    assert choose(JOINTS, episodes_from="plans")[0] is None


def test_marks_and_frames_are_read_beside_joints(choose):
    mode, uses = choose(JOINTS, ("/tf", m.TF_MESSAGES[0]), ("/episode_mark", "std_msgs/msg/Bool"))
    assert mode == "joints"
    assert [use.role for use in uses.values()] == ["joints", "transforms", "marks"]
    _, uses = choose(PLAN, ("/episode_mark", "std_msgs/msg/Bool"))
    assert uses["/episode_mark"].note == "not read: episodes come from plans"


SCENES = [("/planning_scene", m.PLANNING_SCENE), ("/a/monitored_planning_scene", m.PLANNING_SCENE),
          ("/collision_object", m.COLLISION_OBJECT),
          ("/attached_collision_object", m.ATTACHED_OBJECT)]  # fmt: skip


def test_every_topic_of_the_scene_is_read_in_each_mode(choose):
    for first in (PLAN, JOINTS, ("/c/state", m.CONTROLLER_STATE)):
        _, uses = choose(first, *SCENES)
        assert [uses[topic].role for topic, _ in SCENES] == ["scene"] * 4
    _, uses = choose(PLAN, *SCENES, obstacles=False)
    assert {uses[topic].role for topic, _ in SCENES} == {None}
    assert {uses[topic].note for topic, _ in SCENES} == {"not read: ingest.obstacles is false"}


def test_another_scene_is_read_if_it_is_the_only_one(choose):
    other = ("/world", m.PLANNING_SCENE)
    assert choose(PLAN, other)[1]["/world"].role == "scene"
    assert choose(PLAN, other, SCENES[0])[1]["/world"].role is None
    assert choose(PLAN, other, discover_topics=False)[1]["/world"].role is None


def test_other_topics_are_not_read(choose):
    mode, uses = choose(("/image", "sensor_msgs/msg/Image"))
    assert mode is None
    assert uses["/image"].note == "not read: no trajectory, joints or pose"

"""What touched first, on real motions."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.contacts import Contact, collided, first_contacts
from pipeline.evaluation.rollout import Loop
from pipeline.evaluation.trials import Trials
from pipeline.params import Params
from pipeline.robot.collision import CollisionChecker

STEPS = 70


def test_a_dive_into_the_table_names_what_touched_it_and_when(
    params: Params, loop: Loop, trials: Trials
) -> None:
    down = np.tile(loop.model.home, (3, STEPS, 1))
    down[:, :, 1] = np.linspace(loop.model.home[1], 1.6, STEPS)
    rollouts = loop.replay(down, trials)
    checker = CollisionChecker(params.robot, params.task)
    contacts = first_contacts(checker, rollouts, trials)
    assert collided(contacts).all()
    for index, contact in enumerate(contacts):
        assert contact is not None and contact.step > 0
        where = trials.object_pos[index], trials.object_axis[index]
        path = rollouts.joint_pos[index]
        assert not checker.any_collision(path[: contact.step], *where)
        assert checker.touching(path[contact.step], *where) == (contact.first, contact.second)


def test_a_rollout_that_touches_nothing_has_no_contact(
    params: Params, loop: Loop, trials: Trials
) -> None:
    still = np.tile(loop.model.home, (3, STEPS, 1))
    contacts = first_contacts(
        CollisionChecker(params.robot, params.task), loop.replay(still, trials), trials
    )
    assert contacts == (None, None, None)
    assert not collided(contacts).any()


def test_a_contact_reads_as_a_sentence() -> None:
    assert str(Contact(39, "rh_p12_rn_l", "pen")) == "rh_p12_rn_l and pen at step 39"

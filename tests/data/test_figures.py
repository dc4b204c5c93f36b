"""Procedural people: bodies that hold together, joints that are where they are drawn."""

import numpy as np
import pytest

from pixlab.data.figures import ARM, JOINTS, LEG, Limb, figure, paint, person, skeleton


def bodies(count=200):
    return [skeleton(np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("start", "end", "length"),
    [
        ("shoulder", "elbow", ARM[0]), ("elbow", "wrist", ARM[1]), ("hip", "knee", LEG[0]), ("knee", "ankle", LEG[1]),
    ],
)  # fmt: skip
def test_limbs_keep_their_length(start, end, length):
    for at in bodies():
        for side in ("left", "right"):
            found = np.linalg.norm(at[f"{side}_{end}"] - at[f"{side}_{start}"])
            assert 0.93 * 0.95 - 1e-6 <= found / length <= 1.07 * 1.05 + 1e-6


def test_bodies_face_the_picture_s_viewer_but_for_a_tenth():
    facing = [at["left_hip"][0] > at["right_hip"][0] for at in bodies(1000)]
    assert 0.87 < np.mean(facing) < 0.93
    ahead = [at["nose"][2] < at["neck"][2] for at in bodies(1000)]
    assert np.mean([a == f for a, f in zip(ahead, facing, strict=True)]) > 0.85  # heads turn, but not round


def test_heads_are_up_and_feet_down():
    for at in bodies():
        assert at["head_top"][1] < at["neck"][1] < at["left_hip"][1]
        assert at["left_ankle"][1] > at["left_hip"][1] - 0.2


def ahead(at):
    """Out of the belly."""
    return np.cross(at["left_hip"] - at["right_hip"], [0, -1, 0])


def test_knees_bend_to_the_back_and_elbows_to_the_front():
    forearms = []
    for at in bodies():
        for side in ("left", "right"):
            shoulder, elbow, wrist, hip, knee, ankle = (
                at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
            )
            shin, thigh = (ankle - knee) / LEG[1], (knee - hip) / LEG[0]
            assert (shin - thigh) @ ahead(at) < 0.02
            if elbow[1] - shoulder[1] > 0.8 * ARM[0]:  # the upper arm hangs
                forearms.append((wrist - elbow) @ ahead(at))
    assert len(forearms) > 30 and np.mean(np.array(forearms) > 0) > 0.9


def test_thighs_are_lifted_to_the_front():
    lifted = [(at["left_knee"] - at["left_hip"]) @ ahead(at) for at in bodies()]
    assert max(lifted) > 0.8 * LEG[0] * 2 * 0.11 and min(lifted) > -0.3 * LEG[0] * 2 * 0.11


def test_every_joint_is_on_the_person():
    for seed in range(20):
        canvas = np.zeros((200, 200, 3), np.float32)
        places = person(canvas, np.random.default_rng(seed), scale=80, middle=(100, 110))
        assert places.shape == (len(JOINTS), 2)
        for name, (x, y) in zip(JOINTS, places, strict=True):
            if 1 <= x < 199 and 1 <= y < 199 and name != "head_top":  # the top of the head is its edge
                assert canvas[round(y), round(x)].any(), (seed, name)


def test_a_capsule_covers_what_its_radius_says():
    canvas = np.zeros((40, 60, 3), np.float32)
    paint(canvas, Limb(np.array([15, 20, 0]), np.array([45, 20, 0]), (6, 6), ""), np.ones(3), 0)
    covered = canvas[..., 0] > 0
    exact = 2 * 6 * 30 + np.pi * 36
    assert abs(covered.sum() - exact) < 0.12 * exact
    assert canvas[20, 30, 0] == pytest.approx(1) and canvas[20, 30, 0] > canvas[16, 30, 0] > 0
    paint(canvas, Limb(np.array([-90, -90, 0]), np.array([-80, -80, 0]), (6, 6), ""), np.ones(3), 0)  # nowhere


def test_pictures_are_the_same_for_the_same_seed():
    background = np.full((60, 80, 3), 90, np.uint8)
    (image, places), (again, other) = (figure(background, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(places, other)
    assert image.dtype == np.uint8 and image.shape == (60, 80, 3) and (background == 90).all()
    assert not np.array_equal(places, figure(background, np.random.default_rng(5))[1])


def test_people_fill_the_picture():
    """Hips to neck is what is asked for: a third to half of the height before the person leans."""
    background = np.zeros((60, 80, 3), np.uint8)
    each = [figure(background, np.random.default_rng(seed))[1] for seed in range(60)]
    torso = [np.linalg.norm(p[JOINTS.index("neck")] - p[[9, 12]].mean(0)) / 60 for p in each]
    assert 0.3 < np.median(torso) < 0.5 and max(torso) < 0.55

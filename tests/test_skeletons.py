"""Pictures of people: what is drawn is where it should be."""

import numpy as np

from pixlab.colours import colour
from pixlab.skeletons import LEFT, MIDDLE, RIGHT, draw, heat, kernels_picture, limbs, pose_strip

JOINTS = ("nose", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
PLACES = np.float32([[60, 20], [80, 40], [40, 40], [90, 70], [30, 70]])


def test_limbs_between_the_joints_that_there_are():
    named = {(JOINTS[a], JOINTS[b]) for a, b in limbs(JOINTS)}
    assert ("left_shoulder", "left_elbow") in named and ("nose", "right_shoulder") in named and len(named) == 5
    with_neck = (*JOINTS, "neck")
    named = {(with_neck[a], with_neck[b]) for a, b in limbs(with_neck)}
    assert ("nose", "neck") in named and ("nose", "left_shoulder") not in named


def test_joints_and_limbs_have_the_colours_of_their_sides():
    black = np.zeros((100, 120, 3), np.uint8)
    drawn = draw(black, PLACES, JOINTS)
    assert not black.any()
    for (x, y), tone in zip(PLACES.astype(int), (MIDDLE, LEFT, RIGHT, LEFT, RIGHT), strict=True):
        assert tuple(drawn[y, x]) == tone
    assert tuple(drawn[55, 85]) == LEFT and tuple(drawn[55, 35]) == RIGHT and tuple(drawn[40, 60]) == MIDDLE


def test_what_is_not_known_is_not_drawn():
    places = PLACES.copy()
    places[3] = np.nan
    drawn = draw(np.zeros((100, 120, 3), np.uint8), places, JOINTS, np.float32([1, 1, 1, 1, 0]))
    assert not drawn[60:].any() and drawn[40, 80].any()


def test_heat_is_brightest_where_a_map_is_highest():
    image = np.full((40, 60, 3), 200, np.uint8)
    maps = np.zeros((10, 15, 2), np.float32)
    maps[2, 4, 0], maps[7, 10, 1] = 4.5, 5
    tinted = heat(image, maps, ("left_wrist", "right_wrist"))
    assert np.abs(tinted[9:11, 17:19].astype(int) - LEFT).max() < 50
    assert np.abs(tinted[29:31, 41:43].astype(int) - RIGHT).max() < 50
    assert (tinted[0, 0] == 100).all()
    half = heat(image[:, :28], maps, ("left_wrist", "right_wrist"), (0, 0, 7, 10))  # the left part of the maps
    np.testing.assert_allclose(half[:, :22].astype(int), tinted[:, :22], atol=8)


def test_heat_of_a_guess_is_darker_than_that_of_a_find():
    """As dark as it is low: of the way from grey to its colour, a fifth of the peak goes a fifth of the find's."""
    image, maps = np.full((40, 60, 3), 200, np.uint8), np.zeros((10, 15, 2), np.float32)
    maps[1:4, 3:6, 0], maps[6:9, 9:12, 1] = 0.15, 0.75
    tinted = heat(image, maps, ("left_wrist", "right_wrist")).astype(float)
    np.testing.assert_allclose(tinted[30, 42], RIGHT, atol=1)
    np.testing.assert_allclose(tinted[10, 18], 100 + 0.2 * (np.array(LEFT) - 100), atol=1)
    np.testing.assert_array_equal(tinted, heat(image, 100 * maps, ("left_wrist", "right_wrist")))


def test_a_strip_can_be_drawn_of_anything():
    example = {"joints": PLACES / 4, "known": np.ones(5, np.float32)}
    prediction = {"joints": PLACES / 4 + 200, "maps": np.zeros((5, 6, 5), np.float32)}
    assert pose_strip(np.zeros((25, 30, 3), np.float32), example, prediction, JOINTS).shape[2] == 3


def test_kernels_stand_in_rows_by_joint_and_in_columns_by_what_is_given():
    """The kernel of (a, v) is bright in another place in each: the picture has it in row a and column v, but for that
    of a joint given itself, whose place is empty."""
    kernels = np.full((2, 3, 160, 200), 0.1, np.float32)
    for a, v in np.ndindex(2, 3):
        kernels[a, v, 10 + 90 * a : 30 + 90 * a, 10 + 60 * v : 40 + 60 * v] = 1
    picture = kernels_picture(kernels, JOINTS[:2], JOINTS[:3]).astype(int)
    bright = colour(np.ones((1, 1)), low=0, high=1, name="magma")[0, 0]
    rows, columns = np.nonzero((np.abs(picture - bright) < 4).all(-1))
    panel_h, panel_w = picture.shape[0] // 2, picture.shape[1] / 3
    seen = {}
    for y, x in zip(rows, columns, strict=True):
        seen.setdefault((int(y // panel_h), int(x // panel_w)), []).append((y, x))
    assert set(seen) == {place for place in np.ndindex(2, 3) if place[0] != place[1]}
    middles = {place: np.mean(points, 0) for place, points in seen.items()}
    for (a, v), (y, x) in middles.items():
        one = middles[0, 1]
        assert abs(y - one[0] - a * (panel_h + 90)) < 12 and abs(x - one[1] - (v - 1) * (panel_w + 60)) < 12
    assert all(len(points) == 20 * 30 for points in seen.values())
    for a in range(2):
        place = picture[a * panel_h : (a + 1) * panel_h, round(a * panel_w) + 8 : round((a + 1) * panel_w) - 8]
        assert (place == 255).all()

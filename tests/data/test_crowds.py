"""Pictures of several people and examples of them."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pixlab.data import crowds
from pixlab.data.crowds import CrowdFolder, crowd_data, crowd_example, open_crowds, photo_example, train_example
from pixlab.data.figures import JOINTS, MOST, crowd, figure
from pixlab.data.people import PoseFolder
from pixlab.data.pose import counterparts
from pixlab.data.pose_examples import Looks, back_to_photo
from pixlab.errors import UserError

WANTED = ("nose", "neck", "left_shoulder", "right_shoulder", "left_hip", "right_hip")
LOOKS = Looks(WANTED, (48, 64), sides="person", zoom=(0.8, 1.2), turn=30.0)
SIDES = "person", "observer"
HOW = dict(names=JOINTS, looks=LOOKS, most=4)


def frame(first=0):
    """Three people in a picture of 60x80."""
    background = np.full((60, 80, 3), 90, np.uint8)
    for seed in range(first, 200):
        image, everyone = crowd(background, np.random.default_rng(seed))
        if len(everyone) == 3:
            return {"image": image, "joints": everyone}


def test_a_crowd_is_the_picture_of_its_figure():
    background, counts = np.full((60, 80, 3), 90, np.uint8), []
    for seed in range(30):
        (image, one), (again, everyone) = (f(background, np.random.default_rng(seed)) for f in (figure, crowd))
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(one, everyone[-1])
        counts.append(len(everyone))
    assert set(counts) == set(range(1, MOST + 1))


def test_everyone_stands_where_the_joints_say():
    """What a person changes of the picture lies around their joints: the others' places are not the first one's."""
    for seed in range(10):
        everyone = frame(seed)["joints"]
        middles = everyone[:, [JOINTS.index("left_hip"), JOINTS.index("right_hip")]].mean(1)
        assert (np.abs(middles[:-1, 0] - middles[-1, 0]) >= 0.25 * 80 - 1e-3).all()


def test_an_example_by_hand():
    """60x80 into 48x64: 0.8 of the size, about the picture's middle; joints outside are not known."""
    one = frame()
    example = crowd_example(one, **HOW)
    assert example["image"].shape == (48, 64, 3) and example["joints"].shape == (4, 6, 2)
    places = 0.8 * (one["joints"][:, [JOINTS.index(joint) for joint in WANTED]] + 0.5) - 0.5
    inside = ((places > -0.5) & (places < (63.5, 47.5))).all(-1)
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(example["known"][:3], inside)
    np.testing.assert_allclose(example["joints"][:3][inside], places[inside], atol=1e-4)
    assert not example["known"][3].any() and not example["joints"][example["known"] == 0].any()
    across = one["joints"][:, JOINTS.index("left_hip")] - one["joints"][:, JOINTS.index("right_shoulder")]
    np.testing.assert_allclose(example["size"], [*(0.8 * np.linalg.norm(across, axis=1)), 0], rtol=1e-5)


def test_sides_are_each_person_s_own_or_an_observer_s():
    """In a picture of someone who shows their back, that one's names change, and nobody else's."""
    hips = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]
    for seed in range(100):
        one = frame(seed)
        backs = np.subtract(*one["joints"][:, hips, 0].T) < 0
        if 0 < backs.sum() < 3:
            break
    mine, theirs = (crowd_example(one, **HOW | {"looks": dataclasses.replace(LOOKS, sides=s)}) for s in SIDES)
    swap = counterparts(WANTED)
    for person, back in enumerate(backs):
        np.testing.assert_array_equal(theirs["joints"][person], mine["joints"][person, swap if back else slice(None)])
    np.testing.assert_array_equal(mine["size"], theirs["size"])


def test_augmentation_keeps_bodies_together():
    """Distances change by the enlargement alone, and of a mirrored picture left and right are exchanged."""
    one, plain = frame(), crowd_example(frame(), **HOW)
    mirrored = crowd_example(one, **HOW, mirror=True)
    swap = counterparts(WANTED)
    np.testing.assert_array_equal(mirrored["known"], plain["known"][:, swap])
    flipped = plain["joints"][:, swap] * (-1, 1) + (63, 0)
    np.testing.assert_allclose(mirrored["joints"], np.where(mirrored["known"][..., None] > 0, flipped, 0), atol=1e-4)
    for seed in range(5):
        other = train_example(one, np.random.default_rng(seed), **HOW)
        both = (plain["known"] * other["known"] > 0).all(0)
        scale = other["size"][:3] / plain["size"][:3]
        assert np.ptp(scale) < 1e-5 and 0.8 <= scale[0] <= 1.2 and both.shape == (6,)
        for a, b in ((0, 1), (2, 3)):  # nose and neck; the shoulders, whichever is left
            there = (plain["known"] * other["known"])[:, [a, b]].all(1)
            lengths = [np.linalg.norm(x["joints"][there, a] - x["joints"][there, b], axis=1) for x in (plain, other)]
            np.testing.assert_allclose(lengths[1], scale[0] * lengths[0], rtol=1e-3)


def test_more_people_than_there_is_room_for():
    with pytest.raises(UserError, match="a picture has 3 people labelled; give --people 3 or more"):
        crowd_example(frame(), **HOW | {"most": 2})


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of one, two, one, ... people."""
    entries = []
    for number in range(10):
        Image.fromarray(np.full((30, 40, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        for person in range(1 + number % 2):
            entries.append({"file": f"{number}.png", "joints": [[k, 10 * person + number] for k in range(15)]})
    (tmp_path / "joints.json").write_text(json.dumps({"names": JOINTS, "people": entries}))
    return tmp_path


def test_people_of_one_file_are_in_one_picture(folder):
    everyone = CrowdFolder(folder, "all")
    assert len(everyone) == 10 and len(PoseFolder(folder, "all")) == 15
    for number in range(10):
        one = everyone[number]
        assert one["image"][0, 0, 0] == number
        assert one["joints"][:, 0, 1].tolist() == [number, 10 + number][: 1 + number % 2]


def test_pictures_and_not_people_are_divided_into_splits(folder):
    files = {split: {PoseFolder(folder, split).record_name(i) for i in range(len(PoseFolder(folder, split)))}
             for split in ("train", "test")}  # fmt: skip
    assert not files["train"] & files["test"] and len(files["test"]) == 2
    data = crowd_data(f"pose_folder:{folder}", LOOKS, 3, batch=2, workers=1)
    assert {split: len(each.source) for split, each in data.splits.items()} == {"train": 8, "test": 2}
    assert data.splits["test"].map(data.splits["test"].source[1])["known"].shape == (3, 6)


def test_sources_without_everyone_s_joints():
    with pytest.raises(
        UserError, match="no source with everyone's joints 'flic'; there are crowd and pose_folder:PATH"
    ):
        open_crowds("flic", "train")


def test_a_blank_frame_gives_the_examples_of_others():
    blank = crowds.crowd_data("blank", LOOKS, 4, batch=1, workers=1).splits["test"]
    other = crowd_example(frame(), **HOW)
    made = blank.map(blank.source[0])
    assert {k: (v.shape, v.dtype) for k, v in made.items()} == {k: (v.shape, v.dtype) for k, v in other.items()}


def test_a_photo_lies_in_the_middle_and_places_come_back():
    image = np.zeros((30, 80, 3), np.uint8)
    image[10:14, 40:44] = 255
    example = photo_example(image, (48, 64))["image"]
    assert not example[:12].any() and not example[36:].any() and example.max() > 0.9
    y, x = (np.average(np.indices((48, 64))[axis], weights=example.sum(-1)) for axis in (0, 1))
    np.testing.assert_allclose(back_to_photo(np.array([[x, y]]), image, (48, 64)), [[41.5, 11.5]], atol=0.1)

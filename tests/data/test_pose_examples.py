"""Examples of people: the picture that a network sees and the places in it."""

import numpy as np
import pytest

from pixlab.data import pose_examples
from pixlab.data.figures import JOINTS, figure
from pixlab.data.people import People
from pixlab.data.pose import torso, view
from pixlab.data.pose_examples import Looks, back_to_photo, photo_example, pose_data, train_example
from pixlab.errors import UserError

UPPER = ("nose", "left_wrist", "right_wrist", "left_hip", "right_hip")
LOOKS = Looks(UPPER, (48, 64))
OWN = Looks(UPPER, (48, 64), sides="person")


def someone(seed=0, size=(96, 128)):
    rng = np.random.default_rng(seed)
    image, places = figure(rng.integers(0, 256, (*size, 3), np.uint8), rng)
    return {"image": image, "joints": places}


def at(frame, joint):
    return frame["joints"][JOINTS.index(joint)]


def test_torso_by_hand():
    joints = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    places = np.float32([[30, 10], [10, 10], [26, 40], [14, 42]])
    middle, height = torso(places, joints)
    assert middle.tolist() == [20, 25.5] and height == pytest.approx(np.hypot(16, 30))
    places[2] = np.nan  # the right hip stands for both, and to the left shoulder
    middle, height = torso(places, joints)
    assert middle.tolist() == [17, 26] and height == pytest.approx(np.hypot(16, 32))
    places[3] = np.nan
    middle, height = torso(places, joints)
    assert np.isnan(middle).all() and np.isnan(height)


def test_half_the_size_halves_places_and_sizes():
    frame = someone(3)  # whose left hip is right of the right one: as the observer has it
    assert at(frame, "left_hip")[0] > at(frame, "right_hip")[0]
    one = pose_examples.test_example(frame, names=JOINTS, looks=LOOKS)
    assert one["image"].shape == (48, 64, 3) and one["image"].dtype == np.float32
    for index, joint in enumerate(UPPER):
        np.testing.assert_allclose(one["joints"][index], (at(frame, joint) + 0.5) / 2 - 0.5, atol=1e-4)
    middle, height = torso(frame["joints"], JOINTS)
    assert one["size"] == pytest.approx(height / 2, rel=1e-4) and one["torso_known"] == 1
    np.testing.assert_allclose(one["torso"], (middle + 0.5) / 2 - 0.5, atol=1e-4)
    assert one["head"] == pytest.approx(np.linalg.norm(at(frame, "neck") - at(frame, "head_top")) / 2, rel=1e-4)
    mean = frame["image"].astype(float).reshape(48, 2, 64, 2, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(one["image"], mean, atol=1 / 255)  # shrunk by what each pixel covers


def test_sides_are_the_observers_or_the_persons():
    seeds = [seed for seed in range(40) if at(someone(seed), "left_hip")[0] < at(someone(seed), "right_hip")[0]]
    frame = someone(seeds[0])  # seen from behind
    observer = pose_examples.test_example(frame, names=JOINTS, looks=LOOKS)
    person = pose_examples.test_example(frame, names=JOINTS, looks=OWN)
    np.testing.assert_array_equal(observer["joints"], person["joints"][[0, 2, 1, 4, 3]])
    assert observer["size"] == person["size"]


def test_around_a_person():
    looks = Looks(UPPER, (60, 60), around=3.0)
    for seed in range(3):
        one = pose_examples.test_example(someone(seed), names=JOINTS, looks=looks)
        assert one["size"] == pytest.approx(20, rel=1e-4)
        np.testing.assert_allclose(one["torso"], [29.5, 29.5], atol=1e-4)


def test_augmentation_moves_all_along():
    frame, turned = someone(5), Looks(UPPER, (48, 64), zoom=(0.7, 1.4), turn=30.0)
    rng, sizes, mirrored = np.random.default_rng(0), [], 0
    plain = pose_examples.test_example(frame, names=JOINTS, looks=OWN)
    for _ in range(20):
        one = train_example(frame, rng, names=JOINTS, looks=Looks(**vars(turned) | {"sides": "person"}))
        zoom = one["size"] / plain["size"]
        sizes.append(zoom)
        lengths = [np.linalg.norm(x["joints"][:, None] - x["joints"][None], axis=-1) for x in (one, plain)]
        same = np.allclose(lengths[0], zoom * lengths[1], rtol=1e-3, atol=1e-3)
        other = [0, 2, 1, 4, 3]
        swapped = np.allclose(lengths[0], zoom * lengths[1][other][:, other], rtol=1e-3, atol=1e-3)
        assert same or swapped
        mirrored += swapped
        away = one["joints"] - one["torso"]
        np.testing.assert_allclose(np.linalg.norm(away, axis=-1).sum(), zoom * reach(plain), rtol=1e-3)
    assert 0.7 <= min(sizes) < 0.85 and 1.2 < max(sizes) <= 1.4 and 4 < mirrored < 16


def reach(example):
    return np.linalg.norm(example["joints"] - example["torso"], axis=-1).sum()


def test_the_torsos_noise_is_a_part_of_its_height_and_the_same_in_each_test():
    noisy = Looks(UPPER, (48, 64), torso_noise=0.1)
    frames = [someone(seed) for seed in range(60)]
    exact = [pose_examples.test_example(frame, names=JOINTS, looks=LOOKS) for frame in frames]
    off = [pose_examples.test_example(frame, names=JOINTS, looks=noisy) for frame in frames]
    again = [pose_examples.test_example(frame, names=JOINTS, looks=noisy) for frame in frames]
    assert all((a["torso"] == b["torso"]).all() for a, b in zip(off, again, strict=True))
    away = np.array([(a["torso"] - b["torso"]) / b["size"] for a, b in zip(off, exact, strict=True)])
    assert 0.08 < away.std() < 0.12 and abs(away.mean()) < 0.03
    assert all((a["joints"] == b["joints"]).all() for a, b in zip(off, exact, strict=True))


def test_without_a_torso_nothing_is_told_and_the_whole_picture_is_seen():
    frame = someone(1)
    for joint in ("left_hip", "right_hip"):
        frame["joints"][JOINTS.index(joint)] = np.nan
    one = pose_examples.test_example(frame, names=JOINTS, looks=Looks(UPPER, (48, 64), around=3.0, torso_noise=0.1))
    assert one["torso_known"] == one["size"] == 0 and one["torso"].tolist() == [0, 0]
    assert one["known"].tolist() == [1, 1, 1, 0, 0] and all(np.isfinite(x).all() for x in one.values())
    np.testing.assert_allclose(one["joints"][0], (at(frame, "nose") + 0.5) / 2 - 0.5, atol=1e-4)


@pytest.mark.parametrize("size", [(30, 70), (481, 333), (96, 128)])
def test_a_photo_is_seen_whole_and_places_come_back(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    example = photo_example(image, LOOKS)
    assert example["image"].shape == (48, 64, 3) and example["torso_known"] == 0 and not example["known"].any()
    (h, w), (middle, scale) = size, view({"image": image}, (48, 64))
    assert scale == min(48 / h, 64 / w) and middle == ((w - 1) / 2, (h - 1) / 2)
    corners = back_to_photo(np.float32([[31.5, 23.5], [31.5 + 10 * scale, 23.5]]), image, (48, 64))
    np.testing.assert_allclose(corners, [middle, (middle[0] + 10, middle[1])], atol=1e-3)


def test_a_source_without_a_torso_to_measure_by(monkeypatch):
    joints = ("nose", "left_wrist", "right_wrist")
    frame = {"image": np.zeros((20, 30, 3), np.uint8), "joints": np.zeros((3, 2), np.float32)}
    monkeypatch.setattr("pixlab.data.pose_examples.open_people", lambda source, split: People([frame], joints))
    with pytest.raises(UserError, match="the source has no left_shoulder, right_shoulder, left_hip, right_hip"):
        pose_data("mine", Looks(joints, (48, 64)), batch=1, workers=1)


def test_a_source_without_a_joint(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match="the source has no tail; it has nose"):
        pose_data("blank", Looks(("nose", "tail"), (48, 64)), batch=2, workers=1)

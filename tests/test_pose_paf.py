"""Everyone's pose: options, scores on several devices, what is written of a photo."""

import dataclasses

import numpy as np
import pytest

from experiments import pose_paf
from experiments.pose_paf import QUICK, limbs
from pixlab.core import State
from pixlab.crowd_pictures import directions, everyone
from pixlab.data import crowds
from pixlab.data.figures import crowd
from pixlab.data.pipeline import eval_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.losses.part_affinity import affinity_fields, confidence_maps
from pixlab.mesh import make_mesh
from pixlab.metrics.people import people_found
from pixlab.nn.affinity_decode import decode
from pixlab.nn.peaks import cells, pixels

SIZE, STRIDE = (60, 80), 2


@pytest.mark.parametrize("joints", [pose_paf.UPPER, pose_paf.BODY])
def test_limbs_connect_all_joints_once(joints):
    reached = {joints.index("neck")}
    for first, second in limbs(joints):
        assert first in reached and second not in reached
        reached.add(second)
    assert reached == set(range(len(joints)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(size=(100, 160)), "give multiples of 8"),
        (dict(joints=("nose", "left_wrist", "right_wrist")), "limbs do not connect all"),
        (dict(joints=("neck",)), "limbs do not connect all"),
        (dict(weights="vgg19.pth"), "those of a network of width 64, not 24"),
        (dict(people=0), "--people must be at least 1"),
    ],
)
def test_options_that_no_run_can_have(change, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(QUICK, **change).check()
    QUICK.check()


class Scenes:
    """Five crowds, and nothing that takes a room."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        image, everyone = crowd(np.zeros((60, 80, 3), np.uint8), np.random.default_rng(index))
        return {"image": image, "joints": everyone}


def perfect(places, known, config):
    """What a network would answer that is always right: (maps, fields)."""
    size = tuple(n // STRIDE for n in config.size)
    people = cells(places, STRIDE), known, size
    return confidence_maps(*people, 1.2), affinity_fields(*people, limbs(config.joints), 1.0)


def test_scores_are_the_same_on_one_device_and_on_several(monkeypatch):
    """And high where maps and fields are what they should be."""
    config = dataclasses.replace(QUICK, size=SIZE, batch=4, people=4)
    monkeypatch.setattr(crowds, "Crowd", lambda split: Scenes())
    data, found = pose_paf.data(config), []

    def predict(params, carry, batch):
        maps, fields = perfect(batch["joints"], batch["known"], config)
        people = decode(maps[..., :-1], fields, limbs(config.joints), people=config.people)
        return {"joints": pixels(people.places, STRIDE), "value": people.values}

    for devices in (1, 4):
        evaluate = Evaluator(predict, {"people": people_found(config.joints, 20)}, make_mesh(4, devices=devices))
        found.append(evaluate(State(0, {}, {}, {}), eval_batches(data, "test")))
    assert found[0] == found[1] and found[0]["people/precision"] > 85 and found[0]["people/recall"] > 75


def test_a_photo_s_people_are_in_its_own_pixels():
    """A photo of 90x160 in a picture of 48x64: 0.4 of its size, 6 rows lower."""
    config = dataclasses.replace(QUICK, size=(48, 64))
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    assert pose_paf.photo(config, image)["image"].shape == (48, 64, 3)
    joints = np.zeros((8, 10, 2), np.float32)
    joints[0, :3] = (31.5, 23.5), (12, 9), (40, 30)
    value = np.zeros((8, 10), np.float32)
    value[0, :3] = 0.5, 0.25, 0.75
    prediction = {"joints": joints, "value": value, "score": np.float32([3.5] + [0] * 7)}
    prediction |= {"maps": np.ones((6, 8, 11), np.float32), "fields": np.ones((6, 8, 18), np.float32)}
    files = pose_paf.export(config, image, prediction)
    (person,) = files["people"]["people"]
    assert person["score"] == 3.5 and list(person["joints"]) == list(config.joints[:3])
    assert person["joints"]["nose"] == [79.5, 44.5, 0.5]
    assert person["joints"]["neck"] == pytest.approx([79.5 - 19.5 / 0.4, 44.5 - 14.5 / 0.4, 0.25])
    assert all(files[name].shape == (90, 160, 3) for name in ("skeletons", "heatmaps", "field"))
    assert not np.array_equal(files["skeletons"], image)


def test_fields_are_drawn_in_the_colour_of_their_direction():
    image = np.full((40, 40, 3), 200, np.uint8)
    field = np.zeros((4, 4, 2), np.float32)
    field[:2, :2, 0], field[2:, 2:, 0] = 1, -1
    drawn = directions(image, field)
    assert drawn[2, 2].tolist() == [255, 0, 0] and (drawn[-3, -3] <= (5, 255, 255)).all() and drawn[-3, -3, 1] > 250
    assert drawn[2, -3].tolist() == [100, 100, 100]


def test_everyone_has_a_colour():
    people = np.float32([[[5, 5], [5, 30]], [[30, 5], [30, 30]]])
    drawn = everyone(np.zeros((40, 40, 3), np.uint8), people, np.ones((2, 2)), ("neck", "nose"))
    assert drawn[18, 5].any() and drawn[18, 30].any() and (drawn[18, 5] != drawn[18, 30]).any()
    alone = everyone(np.zeros((40, 40, 3), np.uint8), people, np.float32([[0, 0], [1, 1]]), ("neck", "nose"))
    assert not alone[18, 5].any() and alone[18, 30].any()

"""Sources of people by name."""

import json

import numpy as np
import pytest
from PIL import Image

from pixlab.data.people import LSP, PoseFolder, open_people, select
from pixlab.errors import NoSplit, UserError


@pytest.fixture
def folder(tmp_path):
    entries = []
    for number in range(10):
        Image.fromarray(np.full((20 + number, 30, 3), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
        joints = [[number + k, 2.0 * k, int(k != number)] for k in range(14)]
        entries.append({"file": f"{number}.png", "joints": joints})
    (tmp_path / "joints.json").write_text(json.dumps(entries))
    return tmp_path


def test_pictures_and_joints_of_a_folder(folder):
    everyone = PoseFolder(folder, "all")
    assert len(everyone) == 10 and everyone.joints == LSP
    frame = everyone[3]
    assert frame["image"].shape == (23, 30, 3) and frame["image"][0, 0, 0] == 30
    assert frame["joints"].dtype == np.float32 and frame["joints"][5].tolist() == [8, 10]
    assert np.isnan(frame["joints"][3]).all() and np.isfinite(np.delete(frame["joints"], 3, 0)).all()


def test_splits(folder):
    people = open_people(f"pose_folder:{folder}", "train")
    assert (len(people.source), len(PoseFolder(folder, "test"))) == (8, 2)
    entries = json.loads((folder / "joints.json").read_text())
    for entry in entries:
        entry["split"] = "mine" if entry["file"] in ("0.png", "7.png") else "train"
    (folder / "joints.json").write_text(json.dumps({"people": entries, "names": LSP}))
    assert (len(PoseFolder(folder, "train")), len(PoseFolder(folder, "mine"))) == (8, 2)
    with pytest.raises(NoSplit, match=r"nobody in split 'test'; it has \['mine', 'train'\]"):
        PoseFolder(folder, "test")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("[{", "not JSON"),
        ('[{"file": "0.png"}]', "entry 0 is not as expected .*joints"),
        ('[{"file": "0.png", "joints": [[1, 2, 1]]}]', r"0.png has joints \(1, 3\) but 14 names"),
        ('{"names": ["nose"]}', "has no list of people"),
        ('{"names": null, "people": []}', "its names are not a list of joints' names"),
        (
            '{"names": ["a"], "people": [{"file": "0.png", "joints": [[Infinity, 2]]}]}',
            "entry 0 .* a joint at infinity",
        ),
        (
            '{"names": ["a"], "people": [{"file": "0.png", "joints": [[1, 2]], "split": "train"},'
            ' {"file": "1.png", "joints": [[1, 2]]}]}',
            "entry 1 has no split, though others have",
        ),
        (
            '{"names": ["a"], "people": [{"file": "gone.png", "joints": [[1, 2]], "split": "train"}]}',
            r"names gone\.png \(1 in all\), which is not in the folder",
        ),
        (
            '{"names": ["a"], "people": [{"file": "0.png", "joints": [[1, 2, 0]], "split": "train"}]}',
            "nobody in split 'train' has a joint that is labelled",
        ),
    ],
)
def test_what_a_folder_must_hold(folder, text, words):
    index = folder / "joints.json"
    index.unlink() if text is None else index.write_text(text)
    with pytest.raises(UserError, match=words):
        PoseFolder(folder)


def test_a_joint_far_outside_is_a_mistake_and_one_beyond_the_border_is_not(folder):
    def people(x):
        entries = [{"file": "0.png", "joints": [[5, 5], [x, -4]], "split": "train"}]
        (folder / "joints.json").write_text(json.dumps({"names": ["neck", "left_hip"], "people": entries}))
        return PoseFolder(folder)

    assert people(33)[0]["joints"][1].tolist() == [33, -4]
    with pytest.raises(UserError, match=r"0\.png: has the left_hip at \(5000, -4\), far outside its 30x20 pixels"):
        people(5000)[0]


def test_unknown_names(folder):
    with pytest.raises(UserError, match=r"no source of people 'crowd'; there are figures, flic, .* pose_folder:PATH"):
        open_people("crowd", "train")
    people = open_people(f"pose_folder:{folder}", "train")
    assert select(people, ("neck", "left_hip")) == [12, 3]
    with pytest.raises(UserError, match=r"has no nose; it has right_ankle.* train for those with --joints, or give a"):
        select(people, ("nose", "neck"))


def test_leeds_sports_poses_are_on_their_people(real_data):
    """Real pictures: joints inside them, heads above ankles in most."""
    people = PoseFolder(real_data / "pose_lspet", "all")
    upright = 0
    for index in range(len(people)):
        frame = people[index]
        h, w = frame["image"].shape[:2]
        known = frame["joints"][np.isfinite(frame["joints"]).all(-1)]
        assert ((known > -2) & (known < (w + 2, h + 2))).all()
        upright += frame["joints"][LSP.index("neck"), 1] < frame["joints"][LSP.index("left_knee"), 1]
    assert upright > 0.5 * len(people)

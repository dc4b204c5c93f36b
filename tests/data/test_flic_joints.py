"""FLIC's joints from files made up as the published ones are."""

import h5py
import numpy as np
import pytest

from pixlab.data.flic_joints import JOINTS, FlicJoints
from pixlab.data.pose_examples import Looks, pose_data
from pixlab.errors import NoSplit, UserError

LOOKS = Looks(joints=JOINTS, size=(240, 360))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in {"train.h5": 3, "valid.h5": 2}.items():
        with h5py.File(tmp_path / name, "w") as file:
            file["part"] = rng.uniform((100, 100), (600, 400), (count, 11, 2))
            file["normalize"] = np.float32(rng.uniform(150, 200, count))
    return tmp_path


def test_joints_and_sizes_are_the_files(folder):
    source = FlicJoints(folder, "test")
    with h5py.File(folder / "valid.h5") as file:
        np.testing.assert_array_equal(source[1]["joints"], np.float32(file["part"][1]))
        assert source[1]["size"] == file["normalize"][1]
    assert len(source) == 2 and source[0]["image"].shape == (480, 720, 3) and not source[0]["image"].any()
    example = pose_data(f"flic_joints:{folder}", LOOKS, batch=1, workers=1).splits["test"].map(source[1])
    assert example["size"] == pytest.approx(source[1]["size"] / 2)  # of the picture at half its size
    places = np.sort(example["joints"], 0)  # a viewer's sides may have other names
    np.testing.assert_allclose(places, np.sort((source[1]["joints"] + 0.5) / 2 - 0.5, 0), atol=1e-3)


def test_what_is_absent_or_something_else(folder):
    with pytest.raises(NoSplit, match="no split 'val'"):
        FlicJoints(folder, "val")
    with pytest.raises(UserError, match=r"train\.h5: cannot be read"):
        FlicJoints(folder / "nowhere")
    with h5py.File(folder / "train.h5", "a") as file:
        del file["normalize"]
    with pytest.raises(UserError, match=r"train\.h5: cannot be read"):
        FlicJoints(folder)
    with h5py.File(folder / "valid.h5", "a") as file:
        del file["part"]
        file["part"] = np.zeros((2, 14, 2))
    with pytest.raises(UserError, match="is \\(2, 14, 2\\), not"):
        FlicJoints(folder, "test")

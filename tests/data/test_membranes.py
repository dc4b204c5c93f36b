"""Membranes: folders and official stacks with labels known by hand, and one clear line for each thing wrong."""

import numpy as np
import pytest
from PIL import Image

from pixlab.data.membranes import MEMBRANES, open_membranes
from pixlab.errors import NoSplit, UserError


def slice_of(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def cells(seed, height=6, width=8):
    return np.random.default_rng(90 + seed).integers(0, 2, (height, width)).astype(np.uint8)


def stack(path, pages):
    pages = [Image.fromarray(page) for page in pages]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def same(found, numbers):
    assert found.classes is MEMBRANES and len(found.source) == len(numbers)
    for i, seed in enumerate(numbers):
        frame = found.source[i]
        assert frame["image"].dtype == np.uint8 and frame["label"].dtype == np.int32
        np.testing.assert_array_equal(frame["image"], slice_of(seed)[..., None])
        np.testing.assert_array_equal(frame["label"], cells(seed)[..., None])


def official(folder, count=11):
    stack(folder / "train-volume.tif", [slice_of(i) for i in range(count)])
    stack(folder / "train-labels.tif", [255 * cells(i) for i in range(count)])
    return f"isbi2012:{folder}"


def test_stacks_are_split_at_the_last_fifth(tmp_path):
    name = official(tmp_path)
    same(open_membranes(name, "train"), range(9))
    same(open_membranes(name, "test"), [9, 10])
    same(open_membranes(name, "all"), range(11))
    assert open_membranes(name, "test").source.record_name(1) == f"{tmp_path / 'train-volume.tif'}: slice 10"
    with pytest.raises(NoSplit, match="no split 'val'; it has train, test, all"):
        open_membranes(name, "val")


@pytest.mark.parametrize("white", [1, 255, True])
def test_folders_of_one_split_and_of_two(tmp_path, white):
    for i in range(6):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.fromarray(slice_of(i)).save(tmp_path / "train" / f"{i:02}.png")
        label = cells(i) > 0 if white is True else cells(i) * np.uint8(white)
        Image.fromarray(label).save(tmp_path / "train" / f"{i:02}_label.png")
    name = f"isbi2012:{tmp_path}"
    same(open_membranes(name, "train"), range(5))
    same(open_membranes(name, "test"), [5])
    (tmp_path / "test" / "image").mkdir(parents=True)
    (tmp_path / "test" / "label").mkdir()
    Image.fromarray(slice_of(7)).save(tmp_path / "test" / "image" / "0.png")
    Image.fromarray(cells(7)).save(tmp_path / "test" / "label" / "0.png")
    same(open_membranes(name, "train"), range(6))
    same(open_membranes(name, "test"), [7])


def test_what_is_wrong_with_stacks(tmp_path):
    name = official(tmp_path)
    stack(tmp_path / "train-labels.tif", [cells(i) for i in range(11)])
    with pytest.raises(UserError, match=r"train-labels\.tif: has labels \[1\], but they are 0 and 255"):
        open_membranes(name, "train")
    stack(tmp_path / "train-labels.tif", [255 * cells(i) for i in range(10)])
    with pytest.raises(UserError, match=r"volume\.tif is 11x6x8 but .*labels\.tif is 10x6x8; fetch both again"):
        open_membranes(name, "train")
    path = tmp_path / "train-volume.tif"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"train-volume\.tif: not a stack of slices \(.*\); fetch it again") as got:
        open_membranes(name, "train")
    assert "\n" not in str(got.value)
    stack(path, [np.stack([slice_of(0)] * 3, -1)] * 11)
    with pytest.raises(UserError, match=r"train-volume\.tif: not a stack of slices \(other pages than grey"):
        open_membranes(name, "train")
    (tmp_path / "train-labels.tif").unlink()
    stack(path, [slice_of(i) for i in range(11)])
    with pytest.raises(UserError, match=r"train-labels\.tif: no such file"):
        open_membranes(name, "train")


def test_what_is_wrong_with_folders(tmp_path):
    def write(image, label):
        Image.fromarray(image).save(tmp_path / "a.png")
        Image.fromarray(label).save(tmp_path / "a_label.png")
        return open_membranes(f"isbi2012:{tmp_path}", "all").source

    with pytest.raises(UserError, match=r"a\.png: has colours; slices of a microscope must be grey"):
        write(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), cells(0))[0]
    with pytest.raises(
        UserError, match=r"a_label\.png: has a label 2, but 0 is membrane and 1 or 255 cell; correct it"
    ):
        write(slice_of(0), cells(0) * 2)[0]
    with pytest.raises(UserError, match=r"a\.png is 8x6 but its label .*a_label\.png is 8x5"):
        write(slice_of(0), cells(0, height=5))[0]
    with pytest.raises(UserError, match="no such folder"):
        open_membranes("isbi2012:/nowhere/at/all", "train")
    with pytest.raises(UserError, match="no slices 'isbi'; there are rooms, isbi2012 and isbi2012:PATH"):
        open_membranes("isbi", "train")


def test_the_real_slices(real_data):
    if not (folder := real_data / "isbi2012_membrane").is_dir():
        pytest.skip(f"needs {folder.name} among the real images")
    train, test = (open_membranes(f"isbi2012:{folder}", split).source for split in ("train", "test"))
    assert (len(train), len(test)) == (15, 3)
    frame = test[2]
    assert frame["image"].shape == frame["label"].shape == (512, 512, 1)
    inside = frame["label"] == 1
    assert 0.7 < inside.mean() < 0.9 and frame["image"][inside].mean() > 1.3 * frame["image"][~inside].mean()

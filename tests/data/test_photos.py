"""Sources of photos by name: folders, several together, and files of every kind."""

import numpy as np
import pytest
from PIL import Image

from pixlab.data.photos import (
    Joined,
    Kept,
    PhotoFolder,
    blank_photo,
    decoded,
    natural,
    open_apart,
    open_photos,
    split_names,
)
from pixlab.errors import NoSplit, UserError


def picture(seed, height=12, width=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(folder, names):
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed)).save(folder / name)
    return folder


def seeds(source, count=50):
    """Which pictures a source has, in its order."""
    known = {picture(seed).tobytes(): seed for seed in range(count)}
    return [known[source[i]["image"].tobytes()] for i in range(len(source))]


def test_a_folder_is_read_recursively_in_natural_order(tmp_path):
    write(tmp_path, ["t10.png", "t2.bmp", "b/x.PNG", "t1.webp.png", ".hidden.png", "__MACOSX/x.png"])
    (tmp_path / "notes.txt").write_text("no picture")
    assert [PhotoFolder(tmp_path).record_name(i) for i in range(4)] == [
        str(tmp_path / name) for name in ("b/x.PNG", "t1.webp.png", "t2.bmp", "t10.png")
    ]
    assert seeds(PhotoFolder(tmp_path)) == [2, 3, 1, 0]
    assert sorted(["tt1", "t10", "t9", "10", "9a"], key=natural) == ["9a", "10", "t9", "t10", "tt1"]


def test_every_tenth_photo_is_for_testing_and_none_is_in_both(tmp_path):
    write(tmp_path, [f"{i}.png" for i in range(23)])
    name = f"photos:{tmp_path}"
    assert seeds(open_photos(name, "test")) == [0, 10, 20]
    assert seeds(open_photos(name, "train")) == [i for i in range(23) if i % 10]
    assert seeds(open_photos(name, "all")) == list(range(23))


def test_folders_train_and_test_are_the_splits(tmp_path):
    write(tmp_path, ["test/0.png", "train/deep/1.png", "val/2.png", "train/3.png"])
    name = f"photos:{tmp_path}"
    assert (seeds(open_photos(name, "test")), seeds(open_photos(name, "train"))) == ([0], [3, 1])
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    with pytest.raises(NoSplit, match=r"no photos in split 'test', 3 in all"):
        open_photos(name, "test")
    with pytest.raises(NoSplit, match="no split 'dev'; it has train, test and all"):
        open_photos(name, "dev")


def test_several_are_joined_and_paths_may_have_plus_signs_and_commas(tmp_path):
    one, two = write(tmp_path / "a+b,c", ["0.png", "1.png"]), tmp_path / "two"
    write(two, ["0.png"])
    assert split_names("t91+photos:/a+b,c") == ["t91", "photos:/a+b,c"]
    assert split_names("set5,set14+photos:x,photos:y") == ["set5", "set14", "photos:x", "photos:y"]
    joined = open_photos(f"photos:{one}+photos:{two}", "all")
    assert seeds(joined) == [0, 1, 0] and joined.record_name(2) == str(two / "0.png")
    with pytest.raises(IndexError):
        joined[3]
    assert seeds(open_photos(f"photos:{one},photos:{two}", "train")) == [1]  # two has nothing for training
    with pytest.raises(NoSplit):
        open_photos(f"photos:{two},photos:{two}", "train")


def test_a_folder_that_is_only_trained_or_only_tested_on_is_used_whole(tmp_path):
    ours, theirs = (f"photos:{write(tmp_path / name, [f'{i}.png' for i in range(11)])}" for name in "ab")
    assert seeds(open_apart(ours, "train", "set5")) == list(range(11)) == seeds(open_apart(ours, "test", theirs))
    assert seeds(open_apart(ours, "test", ours)) == [0, 10] == seeds(open_apart(ours, "test", f"t91+{ours}"))
    assert seeds(open_apart(ours, "test", f"t91+{ours}/../a/")) == [0, 10]  # the same, written otherwise
    write(tmp_path, ["c/test/0.png", "c/1.png"])
    assert seeds(open_apart(f"photos:{tmp_path / 'c'}", "test", "set5")) == [0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kitti", "no photos 'kitti'; there are t91, set5, .* and photos:PATH"),
        ("t91+kitti", r"no photos 't91\+kitti'; there are"),
        ("photos:", "no photos 'photos:'"),
        ("", "no photos ''"),
        ("photos:FOLDER/none", "none: no such folder; give photos:PATH"),
        ("photos:FOLDER", "no pictures in it; it takes .bmp, "),
        ("photos:FOLDER/file", "file: is a file; give photos:PATH"),
        ("set5", r"set5 is not prepared in .*; run: python -m pixlab data prepare set5"),
    ],
)
def test_what_is_not_there(tmp_path, monkeypatch, name, words):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match=words) as raised:
        open_photos(name.replace("FOLDER", str(tmp_path)), "test")
    assert "\n" not in str(raised.value)


def test_a_photo_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, ["0.png", "1.png"])
    data = (tmp_path / "1.png").read_bytes()
    photos = PhotoFolder(tmp_path)
    for damaged in (data[: len(data) // 2], b"text", b""):
        (tmp_path / "1.png").write_bytes(damaged)
        assert seeds([photos[0]]) == [0]
        with pytest.raises(UserError, match=r"1\.png: "):
            photos[1]


def test_files_of_every_kind_become_upright_rgb(tmp_path):
    rgb = picture(0)
    grey = rgb[..., 0]
    deep = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 300
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    colour = {
        "rgb": (Image.fromarray(rgb), rgb),
        "rgba": (Image.fromarray(np.dstack([rgb, np.full(grey.shape, 255, np.uint8)])), rgb),
        "palette": (q := Image.fromarray(rgb).quantize(16), np.asarray(q.convert("RGB"))),
        "dot": (Image.fromarray(rgb[:1, :1]), rgb[:1, :1]),
    }
    greys = {
        "grey": (Image.fromarray(grey), np.repeat(grey[..., None], 3, -1)),
        "deep": (Image.fromarray(deep), np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, -1)),
    }
    for name, (image, pixels) in (colour | greys).items():
        image.save(tmp_path / f"{name}.png")
        frame = decoded((tmp_path / f"{name}.png").read_bytes(), name)
        np.testing.assert_array_equal(frame["image"], pixels, err_msg=name)
        assert frame["image"].dtype == np.uint8 and bool(frame["grey"]) == (name in greys)
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(PhotoFolder(tmp_path, "all")[6]["image"], np.rot90(rgb, -1))
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "zz.tif")
    frame = PhotoFolder(tmp_path, "all")[7]
    np.testing.assert_allclose(frame["image"].astype(int), rgb, atol=2)
    assert not frame["grey"]


class Counted:
    """Photos that count how often they are read."""

    remedy = "look"

    def __init__(self, count):
        self.count, self.reads = count, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.reads += 1
        return {"image": picture(index), "grey": np.bool_(False)}


def test_photos_are_kept_as_long_as_there_is_memory():
    size = picture(0).nbytes + 1
    for room, reads in ((0, 12), (2 * size, 8), (10 * size, 4)):
        source = Counted(4)
        kept = Kept(source, room)
        assert [seeds(kept) for _ in range(3)] == [[0, 1, 2, 3]] * 3 and source.reads == reads
        assert len(kept) == 4 and kept.remedy == "look"


def test_a_blank_photo_and_joined_sources_without_names():
    assert open_photos("blank", "train")[0].keys() == blank_photo().keys() == {"image", "grey"}
    assert Joined([Counted(2), Counted(1)]).record_name(2) == "photo 0"

"""Labelled pictures: every layout of a folder with labels known by hand, and one clear line for each thing wrong."""

import numpy as np
import pytest
from PIL import Image

from pixlab.data import label_classes, rgbd_sets
from pixlab.data.images import encode_png, png_header
from pixlab.data.label_folder import LabelFolder, read_classes
from pixlab.data.label_sets import open_labels
from pixlab.errors import NoSplit, UserError
from pixlab.losses.segmentation import class_counts, median_frequency_weights


def picture(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def label(seed, classes=3, height=6, width=8):
    return np.random.default_rng(100 + seed).integers(0, classes, (height, width)).astype(np.uint8)


def put(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def beside(folder, numbers, classes=3):
    for i in numbers:
        put(folder / f"p{i}.png", picture(i))
        put(folder / f"p{i}_label.png", label(i, classes))
    return folder


def same(source, numbers, classes=3):
    assert len(source) == len(numbers)
    for frame, i in zip([source[k] for k in range(len(source))], numbers, strict=True):
        assert frame["image"].dtype == np.uint8 and frame["label"].dtype == np.int32
        np.testing.assert_array_equal(frame["image"], picture(i))
        np.testing.assert_array_equal(frame["label"], label(i, classes)[..., None])


def test_labels_beside_their_pictures_in_natural_order(tmp_path):
    beside(tmp_path, range(12))
    put(tmp_path / "deep" / "q.webp", picture(20), lossless=True)
    put(tmp_path / "deep" / "q_sem.png", label(20))
    same(LabelFolder(tmp_path, "all"), [20, *range(12)])
    same(LabelFolder(tmp_path, "train"), [20, *range(11)])
    same(LabelFolder(tmp_path, "test"), [11])  # the last tenth
    assert LabelFolder(tmp_path, "test").record_name(0) == str(tmp_path / "p11.png")
    with pytest.raises(NoSplit, match="no split 'val'; it has train, test, all"):
        LabelFolder(tmp_path, "val")


def test_folders_of_pictures_and_of_labels(tmp_path):
    for i in range(4):
        put(tmp_path / "images" / f"{i}.bmp", picture(i))
        put(tmp_path / "labels" / f"{i}.png", label(i))
    same(LabelFolder(tmp_path, "all"), range(4))
    (tmp_path / "train.txt").write_text("2\n0\n")
    (tmp_path / "validation.txt").write_text("3\n")
    same(LabelFolder(tmp_path, "train"), [0, 2])
    same(LabelFolder(tmp_path, "val"), [3])
    same(LabelFolder(tmp_path, "test"), [3])  # nothing is for testing: val is
    (tmp_path / "test.txt").write_text("1\n")
    same(LabelFolder(tmp_path, "test"), [1])
    (tmp_path / "test.txt").write_text("1\nnine\n")
    with pytest.raises(UserError, match=r"test\.txt: lists 'nine' but .* has no such frame"):
        LabelFolder(tmp_path, "test")


@pytest.mark.parametrize("layout", ["beside", "inside", "outside", "annot"])
def test_splits_are_folders_in_every_layout(tmp_path, layout):
    for split, name, i in (("train", "train", 0), ("val", "valid", 1), ("test", "test", 2)):
        images, labels, end = {
            "beside": (name, name, "_label"),
            "inside": (f"{name}/images", f"{name}/labels", ""),
            "outside": (f"images/{name}", f"labels/{name}", ""),
            "annot": (name, f"{name}annot", ""),
        }[layout]
        put(tmp_path / images / "deep" / "x.png", picture(i))
        put(tmp_path / labels / "deep" / f"x{end}.png", label(i))
        same(LabelFolder(tmp_path, split), [i])
    same(LabelFolder(tmp_path, "all"), [0, 1, 2])


def test_a_split_whose_folder_is_not_there(tmp_path):
    beside(tmp_path / "train", [0])
    with pytest.raises(NoSplit, match="no split 'test'; it has train, all"):
        LabelFolder(tmp_path, "test")


def test_labels_of_a_palette_and_of_one_and_sixteen_bits_are_indices(tmp_path):
    beside(tmp_path, range(3))
    image = Image.fromarray(label(0), "P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "p0_label.png")
    bits = label(1, 2) > 0
    put(tmp_path / "p1_label.png", bits)
    wide = label(2).astype(np.uint16) * 300
    wide[0, 0] = 65535
    (tmp_path / "p2_label.png").write_bytes(encode_png(wide))
    headers = [png_header((tmp_path / f"p{i}_label.png").read_bytes(), "") for i in range(3)]
    assert [header.colour_type for header in headers] == [3, 0, 0] and [header.bits for header in headers][1:] == [
        1,
        16,
    ]
    source = LabelFolder(tmp_path, "all")
    assert source.classes.count == 601 and source.classes.ignore == 601
    np.testing.assert_array_equal(source[0]["label"][..., 0], label(0))
    np.testing.assert_array_equal(source[1]["label"][..., 0], bits)
    np.testing.assert_array_equal(source[2]["label"][..., 0], np.where(wide == 65535, 601, wide))


def test_255_is_no_class_and_classes_are_counted(tmp_path):
    beside(tmp_path, range(2))
    values = label(1, 5)
    values[0, :2] = 255, 4
    put(tmp_path / "p1_label.png", values)
    classes = LabelFolder(tmp_path, "train").classes  # of all splits, so that they agree
    assert classes.names == tuple(f"class {i}" for i in range(5)) and classes.ignore == 255
    assert classes.colours.shape == (5, 3) and len(np.unique(classes.colours, axis=0)) == 5
    np.testing.assert_array_equal(LabelFolder(tmp_path, "test")[0]["label"][..., 0], values)
    put(tmp_path / "p1_label.png", np.full((6, 8), 255, np.uint8))
    put(tmp_path / "p0_label.png", np.full((6, 8), 255, np.uint8))
    with pytest.raises(UserError, match=r"p0_label\.png and all other labels have no class"):
        LabelFolder(tmp_path)


@pytest.mark.parametrize(
    ("text", "names", "ignore"),
    [
        ("sky\nroad\ncar\n", ("sky", "road", "car"), 255),
        ("sky\nroad\nvoid\n\n", ("sky", "road"), 2),
        ("Unlabelled\nroad\ncar", ("Unlabelled", "road", "car"), 0),
    ],
)
def test_classes_by_name(tmp_path, text, names, ignore):
    beside(tmp_path, range(2))
    values = label(1)
    values[0, 0] = 255
    put(tmp_path / "p1_label.png", values)
    (tmp_path / "classes.txt").write_text(text)
    found = open_labels(f"label_folder:{tmp_path}", "test")
    assert found.classes.names == names and found.classes.ignore == ignore and found.classes.count == len(names)
    np.testing.assert_array_equal(found.source[0]["label"][..., 0], np.where(values == 255, ignore, values))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sky\n\nroad\n", r"classes\.txt: line 2 is empty; it must name the classes"),
        ("sky\nroad\nsky\n", r"classes\.txt: names sky twice"),
        ("sky\nvoid\nignore\n", r"classes\.txt: has 3 lines, 2 of them void"),
        ("void\n", r"classes\.txt: has 1 lines, 1 of them void"),
        (b"\xff\xfe\x00", r"classes\.txt: not UTF-8 text"),
    ],
)
def test_what_is_wrong_with_classes(tmp_path, text, words):
    (tmp_path / "classes.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words):
        read_classes(tmp_path)


def breaks(tmp_path, how):
    path = tmp_path / "p1_label.png"
    match how:
        case "colours":
            put(path, picture(0))
        case "size":
            put(path, label(1, height=5))
        case "class":
            put(path, np.full((6, 8), 3, np.uint8))
        case "cut":
            path.write_bytes(path.read_bytes()[:60])
        case "jpeg":
            Image.fromarray(label(1)).save(path, "JPEG")
        case "picture":
            (tmp_path / "p1.png").write_bytes(b"text")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("colours", r"p1_label\.png: labels must be .* whose values are the classes, but this PNG is 8-bit RGB"),
        ("size", r"p1\.png is 8x6 but its label .*p1_label\.png is 8x5; the two must have one size"),
        ("class", r"p1_label\.png: has a label 3, but its 3 classes are 0 to 2, and 255 is none"),
        ("cut", r"p1_label\.png: damaged PNG"),
        ("jpeg", r"p1_label\.png: not a PNG file"),
        ("picture", r"p1\.png: not a readable image"),
    ],
)
def test_a_frame_that_cannot_be_used_is_named(tmp_path, how, words):
    beside(tmp_path, range(2))
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    breaks(tmp_path, how)
    source = LabelFolder(tmp_path, "all")
    same(LabelFolder(tmp_path, "train"), [0])
    with pytest.raises(UserError, match=words) as raised:
        source[1]
    assert "\n" not in str(raised.value)


def test_what_does_not_go_together(tmp_path):
    beside(tmp_path, range(2))
    (tmp_path / "p1_label.png").unlink()
    with pytest.raises(UserError, match=r"p1\.png: has no label; add p1_label\.png beside it"):
        LabelFolder(tmp_path)
    beside(tmp_path, range(2))
    (tmp_path / "p0.png").unlink()
    with pytest.raises(UserError, match=r"p0_label\.png: is a label, but its picture is not in"):
        LabelFolder(tmp_path)
    beside(tmp_path, range(2))
    put(tmp_path / "p1.jpg", picture(1))
    with pytest.raises(UserError, match=r"p1\.\w+ and p1\.\w+ are both the picture of p1; keep one"):
        LabelFolder(tmp_path)
    put(tmp_path / "two" / "images" / "a.png", picture(0))
    (tmp_path / "two" / "labels").mkdir()
    with pytest.raises(UserError, match=r"images/a\.png: has no label; add .*labels/a\.png, or take"):
        LabelFolder(tmp_path / "two")
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no pictures with labels in it; it takes NAME"):
        LabelFolder(tmp_path / "none")
    with pytest.raises(UserError, match="no such folder"):
        LabelFolder(tmp_path / "absent")


def test_camvid_as_segnet_has_it(tmp_path):
    for split in ("train", "val", "test"):
        put(tmp_path / split / "0001.png", picture(0))
        put(tmp_path / f"{split}annot" / "0001.png", label(0, 12))
    for split in ("train", "val", "test"):
        found = open_labels(f"camvid:{tmp_path}", split)
        same(found.source, [0], 12)
    assert found.classes.count == 11 and found.classes.ignore == 11
    assert found.classes.names[:3] == ("sky", "building", "pole") and found.classes.names[10] == "bicyclist"
    (tmp_path / "classes.txt").write_text("\n".join((*found.classes.names, "void")))
    same(open_labels(f"camvid:{tmp_path}", "test").source, [0], 12)
    (tmp_path / "classes.txt").write_text("sky\nboat\n")
    with pytest.raises(UserError, match=r"its classes\.txt has other classes than CamVid; give label_folder:/"):
        open_labels(f"camvid:{tmp_path}", "test")


def test_a_set_by_name_and_names_that_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("streets", "label_folder:", "rooms:x"):
        with pytest.raises(UserError, match=rf"no labelled pictures '{name}'; there are rooms, camvid, .*PATH"):
            open_labels(name, "train")
    blank = open_labels("blank:voc2012", "train")
    assert blank.classes is label_classes.VOC and blank.source[0]["label"].max() < 21


def test_rooms_give_pictures_and_labels(monkeypatch):
    class Rooms:
        remedy = "look"

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return {"image": picture(0), "label": label(0).astype(np.int32)[..., None], "depth": 0, "normal": 0}

        def record_name(self, index):
            return f"room {index}"

    monkeypatch.setattr(rgbd_sets, "rooms", lambda split: Rooms())
    source, classes = open_labels("rooms", "train")
    same(source, [0])
    assert source[0].keys() == {"image", "label"} and source.record_name(0) == "room 0" and source.remedy == "look"
    assert classes.names[classes.ignore] == "unlabelled" and classes.count == 17
    with pytest.raises(NoSplit, match="rooms: no split 'val'; it has train and test"):
        open_labels("rooms", "val")


def test_colours_are_those_of_voc_and_cityscapes():
    # as the development kit lists them
    assert label_classes.voc_palette(256)[1:6] == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128))
    assert label_classes.voc_palette(256)[255] == (224, 224, 192) and label_classes.voc_palette(9)[8] == (64, 0, 0)
    classes = label_classes.CITYSCAPES
    assert classes.colours[classes.names.index("person")].tolist() == [220, 20, 60]
    assert len(label_classes.CITYSCAPES_IDS) == classes.count == len(classes.published) == 19
    counts = {"VOC": 21, "SIFTFLOW": 33, "SCENE_PARSE": 150, "CAMVID": 11, "PETS": 2}
    for name, count in counts.items():
        classes = getattr(label_classes, name)
        assert classes.count == len(set(classes.names)) == len(classes.colours) == count


def test_the_real_subset_of_camvid(real_data):
    if not (folder := real_data / "camvid").is_dir():
        pytest.skip(f"needs {folder.name} among the real images")
    counts = 0
    for split, number in (("train", 80), ("val", 20), ("test", 40)):
        source, classes = open_labels(f"camvid:{folder}", split)
        assert len(source) == number
        frames = [source[i] for i in range(0, number, 8)]
        assert all(f["image"].shape == (240, 320, 3) and f["label"].shape == (240, 320, 1) for f in frames)
        if split == "train":
            counts = sum(class_counts(f["label"], classes=classes.count, ignore=classes.ignore) for f in frames)
    weights = median_frequency_weights(counts)
    order = [classes.names[i] for i in np.argsort(weights)]
    assert set(order[:3]) == {"road", "building", "sky"} and weights[classes.names.index("pole")] > 3

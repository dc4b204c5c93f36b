"""Prepared sets of photos: builders on twins of the archives, prepared and read back without TensorFlow."""

import io
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pixlab.data import catalogue, prepared
from pixlab.data.builders import large_photos
from pixlab.data.builders.photos import SETS, Builder
from pixlab.data.photo_sets import PARTS
from pixlab.data.photos import NAMED, open_photos
from pixlab.errors import NoSplit, UserError


def picture(seed, size=8):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def encoded(seed, kind="PNG", size=8):
    out = io.BytesIO()
    Image.fromarray(picture(seed, size)).save(out, kind)
    return out.getvalue()


def zipped(members, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def tarred(members, path=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
    return out.getvalue()


SRCNN = {  # the repository's archive, in no order
    **{f"SRCNN-Tensorflow-78be/Test/Set5/{i}.bmp": encoded(i, "BMP") for i in (4, 10, 2, 1, 3)},
    **{f"SRCNN-Tensorflow-78be/Test/Set14/{i}.bmp": encoded(20 + i, "BMP") for i in range(14)},
    "SRCNN-Tensorflow-78be/result/srcnn.png": encoded(99),
}


@pytest.fixture
def by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))

    def download(self, url):
        raise OSError(f"no network for {url if isinstance(url, str) else sorted(url.values())[0]}")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    return prepared.by_hand_dir("photos")


def prepare(name):
    entries = {entry.name: entry for entry in catalogue.CATALOGUE}
    said = prepared.prepare(name, entries[name].prepare)
    assert entries[name].prepared()
    return said


def images(source):
    return [source[i]["image"] for i in range(len(source))]


def same(source, seeds, size=8):
    np.testing.assert_array_equal(images(source), [picture(seed, size) for seed in seeds])


def test_sets_out_of_the_archive_of_their_repository(by_hand, tmp_path):
    zipped(SRCNN, by_hand / "set5.zip")
    zipped(SRCNN, by_hand / "set14.zip")
    assert prepare("set5") == f"set5 is prepared in {tmp_path / 'photos' / 'set5' / '1.0.0'}"
    source = open_photos("set5", "test")
    same(source, (1, 2, 3, 4, 10))  # in natural order of the names
    same(open_photos("set5", "all"), (1, 2, 3, 4, 10))
    assert source.record_name(1).endswith("set5/1.0.0: photos record 1")
    assert source.remedy == f"delete {tmp_path / 'photos' / 'set5'} and run: python -m pixlab data prepare set5"
    prepare("set14")
    same(open_photos("set5+set14", "test"), (1, 2, 3, 4, 10, *range(20, 34)))
    with pytest.raises(NoSplit, match="set5: no split 'train'; it has test"):
        open_photos("set5", "train")
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("how", ["folder", "zip", "tar", "collection"])
def test_sets_put_there_by_hand(by_hand, how):
    members = {f"im_{i}.png": encoded(i) for i in range(5)}
    if how == "folder":
        (by_hand / "set5" / "deep").mkdir(parents=True)
        for name, data in members.items():
            (by_hand / "set5" / "deep" / name).write_bytes(data)
    elif how == "zip":
        zipped(members | {"__MACOSX/im_0.png": b"", "readme.txt": b"text"}, by_hand / "set5.zip")
    elif how == "tar":
        tarred(members, by_hand / "set5.tar")
    else:
        low = {f"Set5/LR_bicubic/X2/{name}": encoded(50) for name in members}
        zipped({f"Set5/HR/{name}": data for name, data in members.items()} | low, by_hand / "set5.zip")
    prepare("set5")
    same(open_photos("set5", "test"), range(5))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_records_have_the_bytes_of_the_files(by_hand, kind):
    data = [encoded(i, kind) for i in range(5)]
    zipped({f"{i}.{kind.lower()}": x for i, x in enumerate(data)}, by_hand / "set5.zip")
    builder = Builder(config="set5", data_dir=by_hand / "out", file_format="array_record", by_hand=by_hand)
    builder.download_and_prepare()
    decoders = {"image": tfds.decode.SkipDecoding()}
    found = [(r["image"], r["name"]) for r in builder.as_data_source("photos", decoders=decoders)]
    assert found == [(x, f"{i}.{kind.lower()}".encode()) for i, x in enumerate(data)]


def test_general100_is_for_training_and_testing_and_t91_for_training(by_hand, tmp_path):
    assert {*PARTS, "rooms"} == set(NAMED) and {name: s.count for name, s in SETS.items()} == {
        "t91": 91, "set5": 5, "set14": 14, "bsd100": 100, "urban100": 100, "general100": 100,
    }  # fmt: skip
    zipped({f"im_{i}.bmp": encoded(i, "BMP", 2) for i in range(100)}, by_hand / "general100.zip")
    prepare("general100")
    for split in ("train", "test", "all"):
        same(open_photos("general100", split), range(100), 2)
    with pytest.raises(NoSplit, match="t91: no split 'test'; it has train"):
        open_photos("t91", "test")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, r"set5: .*archive/78be.*\.zip cannot be downloaded \(no network.*\); put its pictures into .*/set5, or"),
        ({f"{i}.png": encoded(i) for i in range(4)}, r"set5\.zip: has 4 pictures, but set5 has 5; fetch all of it"),
        ({f"{i}.png": encoded(i) for i in range(6)}, r"set5\.zip: has 6 pictures, but set5 has 5"),
        ({f"{i}.png": b"text" for i in range(5)}, r"set5\.zip: 0\.png: not a readable image"),
    ],
)
def test_what_is_wrong_with_a_set(by_hand, files, words):
    if files:
        zipped(files, by_hand / "set5.zip")
    with pytest.raises(UserError, match=words.removeprefix("set5: ")) as raised:
        prepare("set5")
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="set5 is not prepared in"):
        open_photos("set5", "test")


def test_archives_that_are_damaged_and_a_set_without_an_archive(by_hand):
    path = zipped(SRCNN, by_hand / "set5.zip")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"set5\.zip: not a whole zip or tar archive .*; delete it and fetch it again"):
        prepare("set5")
    with pytest.raises(UserError, match=r"general100 is downloaded by hand: put its pictures into"):
        prepare("general100")


def test_damaged_records_say_what_to_delete(by_hand, tmp_path):
    zipped(SRCNN, by_hand / "set5.zip")
    prepare("set5")
    (path,) = (tmp_path / "photos" / "set5").rglob("dataset_info.json")
    path.write_text("{")
    with pytest.raises(UserError, match=rf"set5 cannot be opened .*; delete {tmp_path / 'photos' / 'set5'} and run"):
        open_photos("set5", "test")


# The large sets of TFDS


def downloads(files, monkeypatch):
    """Downloads that are there already: {end of the address: path}."""

    def download(self, urls):
        return {key: next(p for end, p in files.items() if url.endswith(end)) for key, url in urls.items()}

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)


def stock(name, **options):
    """The features and the version that the stock builder gives."""
    cls = tfds.builder_cls(name)
    config = {"config": options["config"]} if options else {}
    builder = cls(data_dir="/nowhere", file_format="array_record", **config)
    return builder.info.features.to_json(), str(builder.version)


def ours(folder):
    builder = tfds.builder_from_directory(folder)
    return builder.info.features.to_json(), str(builder.version)


def test_div2k_is_what_the_stock_builder_makes(by_hand, tmp_path, monkeypatch):
    files = {}
    for split, numbers in (("train", (1, 2)), ("valid", (801,))):
        high = {f"DIV2K_{split}_HR/{n:04}.png": encoded(n) for n in numbers}
        low = {f"DIV2K_{split}_LR_x8/{n:04}x8.png": encoded(n + 1000) for n in numbers}
        files[f"DIV2K_{split}_HR.zip"] = zipped(high, tmp_path / f"{split}_high.zip")
        files[f"DIV2K_{split}_LR_x8.zip"] = zipped(low, tmp_path / f"{split}_low.zip")
    downloads(files, monkeypatch)
    prepare("div2k")
    assert sorted(x[0, 0, 0] for x in images(open_photos("div2k", "train"))) == sorted(
        picture(n)[0, 0, 0] for n in (1, 2)
    )
    same(open_photos("div2k", "test"), (801,))
    assert len(open_photos("div2k", "all")) == 3
    assert ours(tmp_path / "div2k" / "bicubic_x8" / "2.0.0") == stock("div2k", config="bicubic_x8")


def test_imagenet2012_is_what_the_stock_builder_makes(by_hand, tmp_path):
    with pytest.raises(UserError, match=r"imagenet2012 is downloaded by hand: put ILSVRC2012_img_train\.tar and"):
        prepare("imagenet2012")
    inner = {s: tarred({f"{s}_{i}.JPEG": encoded(i, "JPEG")}) for i, s in enumerate(("n01440764", "n01443537"))}
    folder = by_hand.parent
    tarred({f"{synset}.tar": data for synset, data in inner.items()}, folder / "ILSVRC2012_img_train.tar")
    tarred({"ILSVRC2012_val_00000002.JPEG": encoded(5, "JPEG")}, folder / "ILSVRC2012_img_val.tar")
    prepare("imagenet2012")
    assert (len(open_photos("imagenet2012", "train")), len(open_photos("imagenet2012", "test"))) == (2, 1)
    (test,) = images(open_photos("imagenet2012", "test"))
    np.testing.assert_array_equal(test, np.asarray(Image.open(io.BytesIO(encoded(5, "JPEG")))))
    builder = tfds.builder_from_directory(tmp_path / "imagenet2012" / "5.1.0")
    (record,) = builder.as_data_source("validation")
    assert builder.info.features["label"].int2str(record["label"]) == "n09193705"  # the second line of TFDS's list
    assert ours(tmp_path / "imagenet2012" / "5.1.0") == stock("imagenet2012")


def test_places365_small_is_what_the_stock_builder_makes(by_hand, tmp_path, monkeypatch):
    lists = {
        "filelist/places365_train_standard.txt": b"/a/airfield/00000001.jpg 0\n/z/zen_garden/00000005.jpg 364\n",
        "filelist/places365_val.txt": b"Places365_val_00000001.jpg 165\n",
    }
    train = {
        "data_256/a/airfield/00000001.jpg": encoded(1, "JPEG", 256),
        "data_256/z/zen_garden/00000005.jpg": encoded(2, "JPEG", 256),
    }
    files = {"filelist_places365-standard.tar": lists, "train_256_places365standard.tar": train}
    files["val_256.tar"] = {"val_256/Places365_val_00000001.jpg": encoded(3, "JPEG", 256)}
    for name, members in files.items():
        tarred(members, tmp_path / "given" / name)
    downloads({name: tmp_path / "given" / name for name in files}, monkeypatch)
    prepare("places365_small")
    builder = tfds.builder_from_directory(tmp_path / "places365_small" / "2.1.0")
    labels = {r["filename"].decode(): int(r["label"]) for r in builder.as_data_source("train")}
    assert labels == {"data_256/a/airfield/00000001.jpg": 0, "data_256/z/zen_garden/00000005.jpg": 364}
    assert [int(r["label"]) for r in builder.as_data_source("validation")] == [165]
    assert len(open_photos("places365_small", "train")) == 2
    assert ours(tmp_path / "places365_small" / "2.1.0") == stock("places365_small")


def test_a_large_set_that_cannot_be_fetched_or_is_cut_short(by_hand, tmp_path):
    for name in ("div2k", "places365_small"):
        with pytest.raises(UserError, match=r"https?://.* cannot be downloaded \(no network for .*\); try again later"):
            prepare(name)
    path = tmp_path / "x.tar"
    tarred({"a": b"x" * 5000}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"x\.tar: not a whole tar archive"):
        list(large_photos.members(path))


def test_a_part_that_was_not_prepared(by_hand, tmp_path):
    tarred({"ILSVRC2012_val_00000001.JPEG": encoded(5, "JPEG")}, by_hand.parent / "ILSVRC2012_img_val.tar")
    prepare("imagenet2012")
    with pytest.raises(NoSplit, match="has no train part; it has validation"):
        open_photos("imagenet2012", "train")

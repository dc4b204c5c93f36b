"""FLIC: the TFDS builder and the source, on twins of the archives, prepared and read back without TensorFlow."""

import io
import pickle
import sys
import zipfile

import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from numpy.lib.recfunctions import repack_fields
from PIL import Image

from pixlab.data import catalogue, prepared
from pixlab.data.builders.flic import LIST, Builder, read_list
from pixlab.data.flic import JOINTS, Flic
from pixlab.data.people import open_people
from pixlab.errors import NoSplit, UserError

COLUMNS = (
    "poselet_hit_idx",
    "moviename",
    "coords",
    "filepath",
    "imgdims",
    "currframe",
    "torsobox",
    "istrain",
    "istest",
)
SMALL = {1: "train", 3: "train", 4: "test"}  # which pictures an archive has, and how they are marked
FULL = {0: "", 1: "train", 2: "", 3: "train", 4: "test", 5: ""}
PLUS = [2, 4]  # as MATLAB counts: pictures 1 and 3


def picture(seed):
    """Encoded bytes: big squares of random grey, so that a flip or a transposition shows."""
    grey = np.random.default_rng(seed).integers(0, 256, (6, 9, 1), dtype=np.uint8).repeat(3, 2)
    out = io.BytesIO()
    Image.fromarray(grey.repeat(80, 0).repeat(80, 1)).save(out, "JPEG")
    return out.getvalue()


def pixels(seed):
    return np.asarray(Image.open(io.BytesIO(picture(seed))))


def coords(seed):
    """The 29 points: the labelled ones by their columns, NaN elsewhere, an elbow outside, one nose nowhere."""
    points = np.full((2, 29), np.nan)
    for column in (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16):
        points[:, column] = 100 + 10 * column + seed, 200 + column / 4
    points[:, 4] = 730.5, -3
    if seed == 3:
        points[:, 16] = np.nan
    return points


def mat(**variables):
    out = io.BytesIO()
    scipy.io.savemat(out, variables)
    return out.getvalue()


def examples(marks):
    """examples.mat as MATLAB writes it: a 1 x n struct array."""
    rows = np.zeros((1, len(marks)), [(column, object) for column in COLUMNS])
    for i, (seed, mark) in enumerate(marks.items()):
        hits, torso = np.arange(1.0, 2.0 + seed)[None], np.array([[72.0, 48.0, 360.0, 240.0]])
        flags = mark == "train", float(mark == "test")
        rows[0, i] = (
            hits,
            f"film-{seed}",
            coords(seed),
            f"{seed}.jpg",
            [[480.0, 720.0, 3.0]],
            25.0 * seed,
            torso,
            *flags,
        )
    return mat(examples=rows)


def examples_without(column):
    rows = scipy.io.loadmat(io.BytesIO(examples(SMALL)))["examples"]
    return repack_fields(rows[[name for name in COLUMNS if name != column]])


def members(folder, marks):
    return {f"{folder}/examples.mat": examples(marks)} | {f"{folder}/images/{i}.jpg": picture(i) for i in marks}


def write(folder, name, members):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as out:
        for member, data in members.items():
            out.writestr(member, data)
    return folder / name


def prepare(folder, config="small"):
    builder = Builder(config=config, data_dir=folder / "tfds", file_format="array_record", by_hand=folder)
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data directory with all three, prepared by the commands' own functions."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tfds")
        patch.setenv("TFDS_DATA_DIR", str(folder))
        by_hand = prepared.by_hand_dir("flic")
        write(by_hand, "FLIC.zip", members("FLIC", SMALL))
        write(by_hand, "FLIC-full.zip", members("FLIC-full", FULL))
        (by_hand / LIST).write_bytes(mat(anything=np.array([PLUS])))
        commands = {entry.name: entry for entry in catalogue.CATALOGUE}
        for name in ("flic:plus", "flic:full", "flic"):
            assert commands[name].prepare().startswith("flic is prepared in ") and commands[name].prepared()
        yield folder


@pytest.fixture
def no_network(monkeypatch):
    def download(self, url):
        raise OSError("no network")

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)


def seeds(source):
    """Which pictures a source has."""
    known = {pixels(seed).tobytes(): seed for seed in FULL}
    return {known[source[i]["image"].tobytes()]: i for i in range(len(source))}


def test_every_frame_comes_back_with_pixels_counted_from_0(data_dir):
    source = Flic(data_dir)
    found = seeds(source)
    assert set(found) == {1, 3}
    for seed, index in found.items():
        frame = source[index]
        assert frame["image"].shape == (480, 720, 3) and frame["image"].dtype == np.uint8
        assert frame["joints"].shape == (11, 2) and frame["joints"].dtype == np.float32
        joints = dict(zip(JOINTS, frame["joints"].tolist(), strict=True))
        assert joints["left_shoulder"] == [99 + seed, 199] and joints["left_hip"] == [159 + seed, 200.5]
        assert joints["right_hip"] == [189 + seed, 201.25] and joints["right_eye"] == [229 + seed, 202.25]
        assert joints["right_elbow"] == [729.5, -4]  # outside, and kept
        assert np.isnan(joints["nose"]).all() if seed == 3 else joints["nose"] == [259 + seed, 203]
    assert "tensorflow" not in sys.modules


def test_splits(data_dir):
    assert set(seeds(Flic(data_dir, "test"))) == {4}
    assert set(seeds(Flic(data_dir, "train", config="full"))) == {0, 1, 2, 3, 5}
    for config in ("full", "plus"):
        test = Flic(data_dir, "test", config=config)
        assert set(seeds(test)) == {4} and test.record_name(0).endswith("small/2.0.0: test record 0")
    with pytest.raises(NoSplit, match="flic: no split 'dev'; it has train and test"):
        Flic(data_dir, "dev")


def test_the_list_of_plus_counts_from_1(data_dir, tmp_path):
    assert set(seeds(Flic(data_dir, config="plus"))) == {1, 3}
    (tmp_path / LIST).write_bytes(mat(anything=np.array([[6], [1], [5]])))
    assert read_list(tmp_path / LIST, 6) == [0, 4, 5]


@pytest.mark.parametrize("config", ["small", "full"])
def test_the_stock_builder_reads_it_as_its_own(data_dir, config):
    stock = tfds.builder(f"flic/{config}", data_dir=data_dir)
    ours = tfds.builder_from_directory(data_dir / "flic" / config / "2.0.0")
    assert stock.version == Builder.VERSION and stock.name == Builder.name
    assert stock.url_infos == Builder.url_infos and stock.builder_config.url in stock.url_infos
    assert ours.info.features.to_json() == type(stock)(config=config, data_dir="/nowhere").info.features.to_json()
    assert {name: stock.info.splits[name].num_examples for name in ("train", "test")} == {"train": 2, "test": 1}
    (record,) = stock.as_data_source("test")
    np.testing.assert_array_equal(record["image"], pixels(4))
    np.testing.assert_array_equal(record["xcoords"], coords(4)[0])
    np.testing.assert_array_equal(record["ycoords"], coords(4)[1].astype(np.float32))
    np.testing.assert_allclose(record["torsobox"], [0.1, 0.1, 0.5, 0.5])
    assert list(record["poselet_hit_idx"]) == [1, 2, 3, 4, 5]
    assert record["moviename"] == b"film-4" and record["currframe"] == 100


def test_by_name(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    for name, count in {"flic": 2, "flic:full": 5, "flic:plus": 2}.items():
        people = open_people(name, "train")
        assert people.joints == JOINTS and len(people.source) == count and len(open_people(name, "test").source) == 1
        assert people.source.remedy == f"delete {data_dir / 'flic'} and run: python -m pixlab data prepare {name}"
    with pytest.raises(UserError, match="no source of people 'flic:half'"):
        open_people("flic:half", "train")


def test_pickled_reads_agree(data_dir):
    source = Flic(data_dir)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[1]["joints"], source[1]["joints"])


def test_nothing_prepared(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no prepared flic; prepare it with"):
        Flic(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        UserError, match=r"flic:plus is not prepared in .*; run: python -m pixlab data prepare flic:plus"
    ):
        open_people("flic:plus", "train")


def test_a_box_that_leaves_the_picture_and_one_hit_alone(tmp_path):
    rows = scipy.io.loadmat(io.BytesIO(examples({7: "train", 8: "test"})))["examples"]
    rows["torsobox"][0, 0] = np.array([[-20.0, 48.0, 800.0, 240.0]])
    rows["poselet_hit_idx"][0, 0] = np.array([[3.0]])  # which scipy squeezes to a number
    write(tmp_path, "FLIC.zip", members("FLIC", {7: "train", 8: "test"}) | {"FLIC/examples.mat": mat(examples=rows)})
    (record,) = prepare(tmp_path).as_data_source("train")
    np.testing.assert_allclose(record["torsobox"], [0.1, 0, 0.5, 1])
    assert list(record["poselet_hit_idx"]) == [3]


def test_files_that_are_absent_say_where_to_put_them(tmp_path, no_network):
    with pytest.raises(
        UserError, match=rf"FLIC\.zip cannot be downloaded \(no network\); fetch https://drive.* at {tmp_path}"
    ):
        prepare(tmp_path)
    write(tmp_path, "FLIC-full.zip", members("FLIC-full", FULL))
    with pytest.raises(UserError, match=rf"{LIST} cannot be downloaded .*tompson.* at {tmp_path / LIST}"):
        prepare(tmp_path, "plus")


def test_archives_that_are_cut_short_or_damaged(tmp_path):
    archive = write(tmp_path, "FLIC.zip", members("FLIC", SMALL))
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-3000])
    with pytest.raises(UserError, match=r"FLIC\.zip: not a whole zip archive .*; download https://drive"):
        prepare(tmp_path)
    at = whole.index(picture(3)) + 500
    archive.write_bytes(whole[:at] + bytes(50) + whole[at + 50 :])
    with pytest.raises(UserError, match=r"FLIC\.zip: not a whole zip archive .*3\.jpg"):
        prepare(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FLIC/examples.mat": None}, r"no item named 'FLIC/examples\.mat'.*; download https"),
        ({"FLIC/images/3.jpg": None}, r"no item named 'FLIC/images/3\.jpg'.*; download https"),
        ({"FLIC/images/3.jpg": b"no picture"}, r"FLIC\.zip: FLIC/images/3\.jpg: not a picture"),
        ({"FLIC/examples.mat": b"no list"}, r"its examples\.mat is not FLIC's"),
        ({"FLIC/examples.mat": mat(examples=examples_without("istest"))}, r"its examples\.mat is not FLIC's .*columns"),
        ({"FLIC/examples.mat": mat(other=1)}, r"its examples\.mat is not FLIC's \(KeyError"),
    ],
)
def test_archives_that_are_something_else(tmp_path, change, words):
    changed = members("FLIC", SMALL) | change
    write(tmp_path, "FLIC.zip", {name: data for name, data in changed.items() if data is not None})
    with pytest.raises(UserError, match=words):
        prepare(tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (mat(tr=[[0, 3]]), rf"{LIST}: has numbers 0 to 3, not within 1 to 6; download https://cims"),
        (mat(tr=[[1, 7]]), r"has numbers 1 to 7, not within 1 to 6"),
        (mat(tr=np.zeros((0, 0))), r"not a list of examples \(IndexError"),
        (mat(one=[1], two=[2]), r"not a list of examples \(ValueError"),
        (b"none", "not a list of examples"),
    ],
)
def test_lists_that_are_something_else(tmp_path, data, words):
    write(tmp_path, "FLIC-full.zip", members("FLIC-full", FULL))
    (tmp_path / LIST).write_bytes(data)
    with pytest.raises(UserError, match=words):
        prepare(tmp_path, "plus")

"""The TFDS builder, on a twin of the archive: a small tar of HDF5 files, prepared and read back without TensorFlow."""

import io
import pickle
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds

from pixlab.data.builders.nyu_depth_v2 import Builder, NyuDepthV2
from pixlab.errors import UserError

H, W = 480, 640
FRAMES = {"train/cafe_0001/00001.h5": 1, "train/cafe_0001/00006.h5": 2, "train/attic_2/00001.h5": 3}
FRAMES |= {"val/official/00001.h5": 4, "val/official/00002.h5": 5}


def rgb(seed):
    """Big random squares, so that the PNG is quick and a flip or a transposition shows."""
    return np.random.default_rng(seed).integers(0, 256, (3, 6, 8), dtype=np.uint8).repeat(80, 1).repeat(80, 2)


def depth(seed):
    """A ramp through every float16 from 0.5 to 10 m, shifted a little for each frame."""
    values = np.arange(np.float16(0.5).view(np.uint16), np.float16(10).view(np.uint16) + 1, dtype=np.uint16)
    return np.resize(np.roll(values.view(np.float16), seed), (H, W)).astype(np.float32)


def hdf5(**arrays):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return out.getvalue()


def tar(path, members):
    with tarfile.open(path, "w:gz", compresslevel=1) as out:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def prepare(folder, members):
    archive = tar(folder / "nyudepthv2.tar.gz", members)
    builder = Builder(data_dir=folder, file_format="array_record", archive=archive)
    builder.download_and_prepare()
    return builder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    members = {f"nyudepthv2/{name}": hdf5(rgb=rgb(seed), depth=depth(seed)) for name, seed in FRAMES.items()}
    junk = {"nyudepthv2/README": b"text", "nyudepthv2/train/cafe_0001/._00001.h5": b"a Mac's leaving"}
    prepare(folder, junk | members)
    return folder


def seeds(source):
    """Which frames a source has, by their pictures."""
    known = {rgb(seed).transpose(1, 2, 0).tobytes(): seed for seed in FRAMES.values()}
    return [known[source[i]["image"].tobytes()] for i in range(len(source))]


def test_every_frame_comes_back_exactly(data_dir):
    train, validation = NyuDepthV2(data_dir, "train"), NyuDepthV2(data_dir, "validation")
    assert sorted(seeds(train)) == [1, 2, 3] and sorted(seeds(validation)) == [4, 5]
    for source in (train, validation):
        for i, seed in enumerate(seeds(source)):
            frame = source[i]
            np.testing.assert_array_equal(frame["depth"][..., 0], depth(seed))
            assert frame["depth"].dtype == np.float32 and frame["image"].shape == (H, W, 3)
            np.testing.assert_allclose(frame["intrinsics"][2:], [324.582449, 252.736166], rtol=1e-6)
    assert "tensorflow" not in sys.modules


def test_depth_is_rounded_to_float16_as_the_stock_builder_does(tmp_path):
    metres = np.linspace(0.7, 9.9999, H * W, dtype=np.float32).reshape(H, W)
    members = {f"nyudepthv2/{s}/a/1.h5": hdf5(rgb=rgb(1), depth=metres) for s in ("train", "val")}
    prepare(tmp_path, members)
    got = NyuDepthV2(tmp_path)[0]["depth"][..., 0]
    np.testing.assert_array_equal(got, metres.astype(np.float16).astype(np.float32))


def test_the_stock_builder_reads_it_as_its_own(data_dir):
    stock = tfds.builder("nyu_depth_v2", data_dir=data_dir)
    assert stock.VERSION == Builder.VERSION and stock.name == Builder.name
    ours = tfds.builder_from_directory(data_dir / "nyu_depth_v2/0.0.1")
    assert ours.info.features.to_json() == type(stock)(data_dir="/nowhere").info.features.to_json()
    assert ours.info.supervised_keys == stock.info.supervised_keys
    assert {name: split.num_examples for name, split in stock.info.splits.items()} == {"train": 3, "validation": 2}
    records, source = stock.as_data_source("train"), NyuDepthV2(data_dir)
    for i in range(3):
        assert records[i]["depth"].dtype == np.float16 and records[i]["depth"].shape == (H, W)
        np.testing.assert_array_equal(records[i]["depth"], source[i]["depth"][..., 0])
        np.testing.assert_array_equal(records[i]["image"], source[i]["image"])


def test_splits_slices_and_the_directory_itself(data_dir):
    every = seeds(NyuDepthV2(data_dir))
    assert seeds(NyuDepthV2(data_dir / "nyu_depth_v2/0.0.1", "train[1:]")) == every[1:]
    assert seeds(NyuDepthV2(data_dir, "test")) == seeds(NyuDepthV2(data_dir, "validation"))
    assert seeds(NyuDepthV2(data_dir, "test[:1]")) == seeds(NyuDepthV2(data_dir, "validation"))[:1]
    assert NyuDepthV2(data_dir, "test").record_name(1).endswith("0.0.1: test record 1")
    with pytest.raises(UserError, match=r"no split 'dev' \(it has train, validation\)"):
        NyuDepthV2(data_dir, "dev")


def test_pickled_and_threaded_reads_agree(data_dir):
    source = NyuDepthV2(data_dir)
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(copy.__getitem__, [0, 1, 2] * 4))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame["depth"], source[i % 3]["depth"])


def test_normals_come_from_the_depth(data_dir, tmp_path, monkeypatch):
    calls = []

    def fit(depth, intrinsics):
        calls.append(intrinsics)
        return np.broadcast_to(np.float32([0, 0, -1]), (H, W, 3)), depth > 5

    fake = type("module", (), {"normals_from_depth": staticmethod(fit)})
    monkeypatch.setitem(sys.modules, "pixlab.data.normals_from_depth", fake)
    source = NyuDepthV2(data_dir, "train[:2]", normals=True, cache=tmp_path)
    for frame in (source[1], source[1]):
        np.testing.assert_array_equal(frame["normal"][..., 2], -(frame["depth"][..., 0] > 5).astype(np.float32))
    assert len(calls) == 1 and len(list(tmp_path.rglob("*.npy"))) == 1


def test_nothing_prepared(tmp_path):
    with pytest.raises(UserError, match="no prepared nyu_depth_v2; prepare it with"):
        NyuDepthV2(tmp_path)


GOOD = hdf5(rgb=rgb(1), depth=depth(1))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"other/file": b"x"}, r"nyudepthv2\.tar\.gz: no train/SCENE/FILE\.h5 in it"),
        ({"nyudepthv2/train/a/1.h5": GOOD}, r"no val/SCENE/FILE\.h5 in it"),
        ({"nyudepthv2/train/a/1.h5": b"no HDF5"}, r"train/a_1\.h5: not an HDF5 file with rgb and depth"),
        ({"nyudepthv2/train/a/1.h5": hdf5(rgb=rgb(1))}, r"train/a_1\.h5: not an HDF5 file with rgb and depth"),
        (
            {"nyudepthv2/train/a/1.h5": hdf5(rgb=rgb(1)[:, ::2], depth=depth(1))},
            r"train/a_1\.h5: rgb uint8 \(3, 240, 640\)",
        ),
    ],
)
def test_archives_that_are_something_else(tmp_path, members, words):
    with pytest.raises(UserError, match=words):
        prepare(tmp_path, members)


def test_archives_that_are_absent_or_cut_short(tmp_path):
    builder = Builder(data_dir=tmp_path, file_format="array_record", archive=tmp_path / "none.tar.gz")
    with pytest.raises(UserError, match=r"none\.tar\.gz: no such file; download http"):
        builder.download_and_prepare()
    noise = np.random.default_rng(0).bytes(1 << 16)
    archive = tar(tmp_path / "cut.tar.gz", {"nyudepthv2/train/a/1.h5": GOOD, "nyudepthv2/noise": noise})
    archive.write_bytes(archive.read_bytes()[:-30000])
    builder = Builder(data_dir=tmp_path, file_format="array_record", archive=archive)
    with pytest.raises(UserError, match=r"cut\.tar\.gz: not a whole tar archive"):
        builder.download_and_prepare()

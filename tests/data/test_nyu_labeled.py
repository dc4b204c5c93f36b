"""The labelled set, on a twin of four small frames in the layout of the real file."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import scipy.io

from pixlab.data.nyu_classes import FROM_40, NAMES, NAMES_4, NAMES_13, NAMES_40, TO_4, TO_13, map_classes
from pixlab.data.nyu_labeled import INTRINSICS, NyuLabeled
from pixlab.errors import UserError

H, W, N = 24, 32, 4
RNG = np.random.default_rng(0)
# as MATLAB shows them: rows, columns, (channels,) frames
IMAGES = RNG.integers(0, 256, (H, W, 3, N), dtype=np.uint8)
DEPTHS = (1 + np.arange(H * W * N).reshape(H, W, N) / 900).astype(np.float32)
RAW = np.where(RNG.random((H, W, N)) < 0.2, 0, DEPTHS).astype(np.float32)
LABELS = RNG.integers(0, 895, (H, W, N), dtype=np.uint16)
MAP_CLASS = RNG.integers(1, 41, 894).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:  # as MATLAB leaves it
        for name, values in {"images": IMAGES, "depths": DEPTHS, "rawDepths": RAW, "labels": LABELS}.items():
            file[name] = np.ascontiguousarray(values.T)
    train, test = np.array([[2], [4]], np.uint16), np.array([[1], [3]], np.uint16)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": train, "testNdxs": test})
    scipy.io.savemat(tmp_path / "classMapping40.mat", {"mapClass": MAP_CLASS[None]})
    return tmp_path


@pytest.mark.parametrize(("split", "numbers"), [("train", [2, 4]), ("test", [1, 3]), ("all", [1, 2, 3, 4])])
def test_frames_stand_upright_and_splits_count_from_one(folder, split, numbers):
    source = NyuLabeled(folder, split)
    assert len(source) == len(numbers)
    for i, number in enumerate(numbers):
        frame = source[i]
        np.testing.assert_array_equal(frame["image"], IMAGES[..., number - 1])
        np.testing.assert_array_equal(frame["depth"][..., 0], DEPTHS[..., number - 1])
        assert frame["image"].dtype == np.uint8 and frame["depth"].dtype == np.float32
        assert source.record_name(i).endswith(f"nyu_depth_v2_labeled.mat: frame {number:04d}")


def test_raw_depth_keeps_its_holes(folder):
    frame = NyuLabeled(folder, "train", raw_depth=True)[0]
    np.testing.assert_array_equal(frame["depth"][..., 0], RAW[..., 1])
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "a") as file:
        file["rawDepths"][1, 3, 5] = np.nan
    frame = NyuLabeled(folder, "train", raw_depth=True)[0]
    assert frame["depth"][5, 3, 0] == 0


def test_labels_under_every_class_set(folder):
    names = LABELS[..., 1].astype(int)
    forty = np.array([[0 if c == 0 else MAP_CLASS[c - 1] for c in row] for row in names])
    expected = {
        894: names,
        40: forty,
        13: np.array([[0 if c == 0 else TO_13[c - 1] for c in row] for row in forty]),
        4: np.array([[0 if c == 0 else TO_4[c - 1] for c in row] for row in forty]),
    }
    for classes, label in expected.items():
        got = NyuLabeled(folder, "train", classes=classes)[0]["label"]
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got[..., 0], label)
    assert "label" not in NyuLabeled(folder, "train", classes=None)[0]


def test_class_names_and_maps_by_meaning():
    assert [len(names) for names in (NAMES_40, NAMES_13, NAMES_4)] == [40, 13, 4]
    # what each class must become, read off its name
    thirteen = {name: name for name in ("wall", "bed", "sofa", "ceiling", "books", "picture", "chair", "window")}
    thirteen |= {"television": "tv", "floor mat": "floor", "desk": "table", "door": "wall", "blinds": "window"}
    thirteen |= {"cabinet": "furniture", "bathtub": "objects", "bookshelf": "furniture", "other prop": "objects"}
    four = {"wall": "structure", "floor": "floor", "ceiling": "structure", "sofa": "furniture", "books": "props"}
    four |= {"person": "props", "window": "structure", "toilet": "furniture", "other furniture": "furniture"}
    for classes, meaning in ((13, thirteen), (4, four)):
        table, names = FROM_40[classes], NAMES[classes]
        assert len(table) == 40 and set(table) == set(range(1, classes + 1))
        for name, into in meaning.items():
            assert names[table[NAMES_40.index(name)] - 1] == into, name
    assert (map_classes(np.arange(41), FROM_40[40]) == np.arange(41)).all()
    with pytest.raises(IndexError):
        map_classes(np.array([41]), TO_13)


def test_camera_counts_pixels_from_zero(folder):
    frame = NyuLabeled(folder, "train")[0]
    # the toolbox's principal point, 325.582449, 253.736166, counts the first pixel as 1
    np.testing.assert_allclose(frame["intrinsics"], [518.857901, 519.469611, 324.582449, 252.736166], rtol=1e-6)
    frame["intrinsics"][:] = 0
    assert INTRINSICS.all()  # a frame is the caller's to change


def test_normals_of_a_slanted_plane_are_its_own(folder):
    # n.X = -d with X = depth * ray: depth = d / -(n.ray), exactly a plane for the set's camera
    n = np.array([0.3, -0.4, -np.sqrt(0.75)])
    fx, fy, cx, cy = INTRINSICS
    v, u = np.mgrid[:H, :W]
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones((H, W))], -1)
    depth = (2 / -(rays @ n)).astype(np.float32)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "a") as file:
        file["depths"][1] = depth.T
    source = NyuLabeled(folder, "train", normals=True, cache=folder / "cache")
    first = source[0]["normal"]
    assert first.shape == (H, W, 3) and first.dtype == np.float16
    middle = first[9:-9, 9:-9]
    assert np.rad2deg(np.arccos(np.clip(middle @ n, -1, 1))).max() < 0.5
    assert len(list((folder / "cache").rglob("*.npy"))) == 1
    np.testing.assert_allclose(source[0]["normal"], first, atol=5e-4)


def test_pickled_and_threaded_reads_agree(folder):
    source = NyuLabeled(folder, "all")
    source[0]
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(copy.__getitem__, [i % N for i in range(40)]))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame["image"], IMAGES[..., i % N])


def test_mistakes_say_what_to_get(folder, tmp_path_factory):
    with pytest.raises(UserError, match=r"nyu_depth_v2_labeled\.mat: no such file; see .* where to get it"):
        NyuLabeled(tmp_path_factory.mktemp("empty"))
    with pytest.raises(UserError, match="split is 'validation' but"):
        NyuLabeled(folder, "validation")
    with pytest.raises(UserError, match="classes is 37 but NYU has 40, 13, 4 or 894"):
        NyuLabeled(folder, classes=37)
    scipy.io.savemat(folder / "splits.mat", {"trainNdxs": np.array([[5]]), "testNdxs": np.array([[0]])})
    for split in ("train", "test"):
        with pytest.raises(UserError, match=rf"splits\.mat: split '{split}' does not fit the 4 frames"):
            NyuLabeled(folder, split)
    (folder / "splits.mat").write_bytes(b"no MATLAB")
    with pytest.raises(UserError, match=r"splits\.mat: cannot be read"):
        NyuLabeled(folder)
    (folder / "splits.mat").unlink()
    with pytest.raises(UserError, match=r"splits\.mat: no such file"):
        NyuLabeled(folder)
    assert len(NyuLabeled(folder, "all")) == N
    scipy.io.savemat(folder / "classMapping40.mat", {"mapClass": np.ones((1, 893))})
    with pytest.raises(UserError, match=r"classMapping40\.mat: 'mapClass' must hold 894"):
        NyuLabeled(folder, "all")
    (folder / "classMapping40.mat").unlink()
    with pytest.raises(UserError, match=r"classMapping40\.mat: no such file"):
        NyuLabeled(folder, "all")
    assert NyuLabeled(folder, "all", classes=894)[0]["label"].max() > 40


def test_files_that_are_not_the_set(folder):
    file = folder / "nyu_depth_v2_labeled.mat"
    with h5py.File(file, "a") as data:
        del data["rawDepths"]
    with pytest.raises(UserError, match="has no 'rawDepths', so it is not the labelled set"):
        NyuLabeled(folder, raw_depth=True)
    with h5py.File(file, "a") as data:
        del data["depths"]
        data["depths"] = DEPTHS.T[:3]
    with pytest.raises(UserError, match=r"depths \(3, 32, 24\), labels .* do not fit together"):
        NyuLabeled(folder)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"labeled\.mat: not an HDF5 file or cut short"):
        NyuLabeled(folder)

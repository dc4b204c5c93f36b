"""RGB-D folders: the depth of each pixel by hand, the splits by hand, and one clear line for each thing wrong."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from pixlab.data import rgbd_folder
from pixlab.data.images import encode_png, write_depth_png
from pixlab.data.rgbd_folder import RgbdFolder, write_index
from pixlab.errors import UserError

H, W = 6, 8
METRES = (1 + np.arange(H * W).reshape(H, W) / 16).astype(np.float32)  # a ramp; sixteenths are whole half-millimetres


def picture(seed, h=H, w=W):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def pair(folder, name, seed=0, metres=METRES):
    (folder / f"{name}_rgb.png").write_bytes(encode_png(picture(seed)))
    write_depth_png(folder / f"{name}_depth.png", metres)


@pytest.fixture
def folder(tmp_path):
    for i in range(5):
        pair(tmp_path, f"room{i}", i, METRES + i)
    return tmp_path


def names(source):
    return [row.name for row in source.rows]


def test_pairs_side_by_side(folder):
    hole = METRES + 2
    hole[2, 3] = 0
    write_depth_png(folder / "room2_depth.png", hole)
    source = RgbdFolder(folder, "all")
    assert len(source) == 5
    assert source.record_name(2).endswith("room2")
    frame = source[2]
    np.testing.assert_array_equal(frame["image"], picture(2))
    np.testing.assert_allclose(frame["depth"][..., 0], hole, atol=5.1e-4)
    assert frame["depth"][2, 3, 0] == 0
    assert frame["depth"].dtype == np.float32
    assert set(frame) == {"image", "depth", "intrinsics"}
    # half the width over half the focal length is the tangent of half of 60 degrees
    fx, fy, cx, cy = frame["intrinsics"]
    assert fx == fy and np.rad2deg(2 * np.arctan(W / 2 / fx)) == pytest.approx(60)
    assert (cx, cy) == (3.5, 2.5)


def test_subfolders_and_labels(tmp_path):
    for kind in ("rgb", "depth", "label"):
        (tmp_path / kind).mkdir()
    for i, suffix in enumerate(("jpg", "webp", "bmp")):
        Image.fromarray(picture(i)).save(tmp_path / "rgb" / f"{i}.{suffix}")
        write_depth_png(tmp_path / "depth" / f"{i}.png", METRES + i)
    label = np.arange(H * W, dtype=np.uint8).reshape(H, W)
    (tmp_path / "label" / "1.png").write_bytes(encode_png(label))
    source = RgbdFolder(tmp_path, "all")
    assert names(source) == ["0", "1", "2"]
    np.testing.assert_array_equal(source[1]["label"], label[..., None])
    assert source[1]["label"].dtype == np.int32
    assert not source[0]["label"].any()  # a frame without labels is all unlabelled, so that batches have one form
    np.testing.assert_allclose(source[2]["depth"][..., 0], METRES + 2, atol=5.1e-4)


def test_split_rule_and_lists(folder):
    assert names(RgbdFolder(folder)) == ["room0", "room1", "room2", "room3"]
    assert names(RgbdFolder(folder, "test")) == ["room4"]
    for i in range(5, 25):
        pair(folder, f"room{i:02d}")
    assert len(RgbdFolder(folder)) == 23
    assert names(RgbdFolder(folder, "test")) == names(RgbdFolder(folder, "all"))[-2:]
    (folder / "train.txt").write_text("room3\nroom0\n\n")
    (folder / "validation.txt").write_text("room2")
    assert names(RgbdFolder(folder)) == ["room0", "room3"]
    assert names(RgbdFolder(folder, "validation")) == ["room2"]
    with pytest.raises(UserError, match="no frames in split 'test'; it has train, validation, all"):
        RgbdFolder(folder, "test")
    (folder / "train.txt").write_text("room3\nroom7000")
    with pytest.raises(UserError, match=r"train\.txt: lists 'room7000' but .* has no such frame"):
        RgbdFolder(folder)
    (folder / "train.txt").write_text("room3\nroom2")
    with pytest.raises(UserError, match=r"lists 'room2', which train holds already"):
        RgbdFolder(folder)


def test_index_depth_of_each_frame_by_hand(tmp_path):
    stored = np.array([[0, 1, 100, 255]] * 2, np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(picture(0, 2, 4)))
    (tmp_path / "d8.png").write_bytes(encode_png(stored))
    (tmp_path / "d16.png").write_bytes(encode_png(np.array([[0, 5, 30000, 65535]] * 2, np.uint16)))
    base = {"rgb": "a.png", "depth": "d8.png", "split": "test"}
    rows = [
        base | {"name": "relative", "scale": 255 / 5.1, "offset": 0.5},  # a step of 2 cm, halves of it in the middle
        base | {"name": "inverse", "scale": 100, "offset": -100, "split": "train"},
        base | {"name": "metric", "depth": str(tmp_path / "d16.png"), "scale": 5000, "none": 65535, "fx": 10, "fy": 11}
        | {"cx": 1.5, "cy": 0.5},
    ]  # fmt: skip
    write_index(tmp_path, rows)
    source = RgbdFolder(tmp_path, "test", intrinsics=(1.0, 2.0, 3.0, 4.0))
    assert names(source) == ["relative", "metric"]
    np.testing.assert_allclose(source[0]["depth"][0, :, 0], [0, 0.03, 2.01, 5.11], rtol=1e-6)
    np.testing.assert_array_equal(source[0]["intrinsics"], np.float32([1, 2, 3, 4]))
    np.testing.assert_allclose(source[1]["depth"][1, :, 0], [0, 0.001, 6.0, 0], rtol=1e-6)
    np.testing.assert_array_equal(source[1]["intrinsics"], np.float32([10, 11, 1.5, 0.5]))
    np.testing.assert_allclose(RgbdFolder(tmp_path)[0]["depth"][0, :, 0], [0, 0, 0, 1.55], rtol=1e-6)
    assert len(RgbdFolder(tmp_path, "all")) == 3


def test_scale_and_intrinsics_of_the_whole_folder(folder):
    np.testing.assert_allclose(RgbdFolder(folder, scale=500.0)[0]["depth"][..., 0], METRES * 2, atol=1.1e-3)
    (folder / "intrinsics.txt").write_text("7, 8\n3.25 2.75")
    np.testing.assert_array_equal(RgbdFolder(folder)[0]["intrinsics"], np.float32([7, 8, 3.25, 2.75]))
    (folder / "intrinsics.txt").write_text("7 8 9")
    with pytest.raises(UserError, match=r"intrinsics\.txt: must hold four numbers"):
        RgbdFolder(folder)
    with pytest.raises(UserError, match="intrinsics has 3 numbers but needs four"):
        RgbdFolder(folder, intrinsics=(1.0, 2.0, 3.0))
    with pytest.raises(UserError, match=r"scale is 0\.0 but must be positive"):
        RgbdFolder(folder, scale=0.0)


def test_pickled_and_threaded_reads_agree(folder):
    source = RgbdFolder(folder, "all")
    copy = pickle.loads(pickle.dumps(source))
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(copy.__getitem__, [i % 5 for i in range(40)]))
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame["image"], picture(i % 5))
        np.testing.assert_array_equal(frame["depth"], source[i % 5]["depth"])


def test_normals_are_fitted_once_with_the_camera_of_the_frame(folder, tmp_path_factory, monkeypatch):
    calls = []

    def fit(depth, intrinsics):
        calls.append((depth, intrinsics))
        valid = depth > depth.mean()
        return np.broadcast_to(np.float32([0.6, 0, -0.8]), (*depth.shape[:2], 3)), valid

    fake = type("module", (), {"normals_from_depth": staticmethod(fit)})
    monkeypatch.setitem(__import__("sys").modules, "pixlab.data.normals_from_depth", fake)
    cache = tmp_path_factory.mktemp("cache") / "new"
    source = RgbdFolder(folder, intrinsics=(5.0, 6.0, 3.0, 2.0), normals=True, cache=cache)
    first, again = source[1]["normal"], source[1]["normal"]
    np.testing.assert_array_equal(first, again)  # kept as float16: the first time gives what later times give
    assert first.dtype == again.dtype == np.float16
    assert len(calls) == 1
    np.testing.assert_array_equal(calls[0][1], np.float32([5, 6, 3, 2]))
    np.testing.assert_array_equal(calls[0][0], source[1]["depth"])
    assert len(list(cache.rglob("*.npy"))) == 1
    valid = (source[1]["depth"] > source[1]["depth"].mean())[..., 0]
    rounded = np.float32(np.float16([0.6, 0, -0.8]))
    np.testing.assert_array_equal(first[valid], np.broadcast_to(rounded, (valid.sum(), 3)))
    assert not first[~valid].any()
    # the kept normals are for this depth and this camera only
    RgbdFolder(folder, intrinsics=(5.0, 6.0, 3.0, 1.0), normals=True, cache=cache)[1]
    RgbdFolder(folder, intrinsics=(5.0, 6.0, 3.0, 2.0), scale=999.0, normals=True, cache=cache)[1]
    assert len(calls) == 3
    # damaged ones are fitted anew; a disk that takes none costs nothing but time
    for kept in cache.rglob("*.npy"):
        kept.write_bytes(kept.read_bytes()[:100])
    for _ in range(2):
        np.testing.assert_array_equal(source[1]["normal"], first)
    assert len(calls) == 4
    (folder / "file").write_text("")
    source.cache = folder / "file"
    for _ in range(2):
        np.testing.assert_array_equal(source[1]["normal"], first)
    assert len(calls) == 6


def test_folder_mistakes(folder, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        RgbdFolder(folder / "nowhere")
    (folder / "hollow").mkdir()
    with pytest.raises(UserError, match=r"hollow: no frames; it needs frames\.csv, or"):
        RgbdFolder(folder / "hollow")
    (folder / "room3_depth.png").unlink()
    with pytest.raises(UserError, match="'room3' has a colour image but no depth image"):
        RgbdFolder(folder)
    (folder / "room3_rgb.png").rename(folder / "room3_depth.png")
    with pytest.raises(UserError, match="'room3' has a depth image but no colour image"):
        RgbdFolder(folder)


def test_frame_mistakes_name_files_and_sizes(folder):
    source = RgbdFolder(folder, "all")
    (folder / "room0_rgb.png").write_bytes(encode_png(picture(0, 7, 9)))
    with pytest.raises(UserError, match=r"room0_rgb\.png is 9x7 but .*room0_depth\.png is 8x6"):
        source[0]
    (folder / "room1_depth.png").write_bytes(encode_png(picture(1)))
    with pytest.raises(UserError, match=r"room1_depth\.png: depth must have one channel"):
        source[1]
    write_depth_png(folder / "room2_depth.png", METRES * 0)
    with pytest.raises(UserError, match=r"room2_depth\.png: no pixel has a depth"):
        source[2]
    (folder / "room3_rgb.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"room3_rgb\.png: not a readable image"):
        source[3]
    (folder / "room4_depth.png").write_bytes(encode_png(np.full((H, W), 9, np.uint8)))
    with pytest.raises(UserError, match=r"room4_depth\.png: 8-bit depth cannot be millimetres"):
        source[4]
    (folder / "room4_label.png").write_bytes(encode_png(np.ones((H, W + 1), np.uint8)))
    write_depth_png(folder / "room4_depth.png", METRES)
    with pytest.raises(UserError, match=r"room4_rgb\.png is 8x6 but .*room4_label\.png is 9x6"):
        RgbdFolder(folder, "all")[4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,rgb,scael\n", "must be rgb, depth and others"),
        ("name,rgb,depth,scael\nx,room0_rgb.png,room0_depth.png,1\n", "must be rgb, depth and others"),
        ("rgb,depth\n", "no frames; write a row"),
        ("rgb,depth\nroom0_rgb.png,room9_depth.png\n", r"line 2: no such file .*room9_depth\.png"),
        ("rgb,depth\nroom0_rgb.png,\n", "line 2: the depth path is missing"),
        ("rgb,depth\nroom0_rgb.png\n", "line 2: not as many cells"),
        ("rgb,depth\nroom0_rgb.png,room0_depth.png,5\n", "line 2: not as many cells"),
        ("rgb,depth,scale\nroom0_rgb.png,room0_depth.png,much\n", "line 2: scale is 'much' but must be a number"),
        ("rgb,depth,scale\nroom0_rgb.png,room0_depth.png,nan\n", "line 2: scale is 'nan' but must be a number"),
        ("rgb,depth,scale\nroom0_rgb.png,room0_depth.png,-1\n", "line 2: scale is -1 but must be positive"),
        ("rgb,depth,fx,fy\nroom0_rgb.png,room0_depth.png,1,1\n", "line 2: fx, fy, cx and cy must all be there"),
        ("rgb,depth\n" + "room0_rgb.png,room0_depth.png\n" * 2, "two frames are called 'room0_rgb'"),
    ],
)
def test_index_mistakes_name_the_line(folder, text, words):
    (folder / "frames.csv").write_text(text)
    with pytest.raises(UserError, match=words) as error:
        RgbdFolder(folder)
    assert "frames.csv" in str(error.value)


def test_index_without_splits_takes_the_lists(folder):
    write_index(folder, [{"rgb": f"room{i}_rgb.png", "depth": f"room{i}_depth.png", "name": f"r{i}"} for i in range(3)])
    assert names(RgbdFolder(folder, "test")) == ["r2"]
    (folder / "test.txt").write_text("r0")
    assert names(RgbdFolder(folder, "test")) == ["r0"]
    with pytest.raises(UserError, match="columns are name,rgb"):
        write_index(folder, [{"rgb": "a", "depht": "b"}])


def test_guess_is_for_the_pixel_centres():
    fx, _, cx, cy = rgbd_folder.guessed_intrinsics(480, 640)
    assert (cx, cy) == (319.5, 239.5)
    assert (np.array([-0.5, 639.5]) - cx) / fx == pytest.approx([-np.tan(np.pi / 6), np.tan(np.pi / 6)])


def test_real_frames_have_the_depths_of_their_camera(real_data, tmp_path):
    from experiments.prepare_nyu_frames import subset

    subset(real_data / "nyu_depth_v2", tmp_path)
    train, test = RgbdFolder(tmp_path), RgbdFolder(tmp_path, "test")
    assert (len(train), len(test)) == (128, 44)
    for source in (train, test):
        for index in (0, len(source) // 2, len(source) - 1):
            frame = source[index]
            depth = frame["depth"]
            assert frame["image"].shape == (240, 320, 3) and depth.shape == (240, 320, 1)
            assert depth.min() > 0.6 and depth.max() < 10.1  # a Kinect sees from 0.7 m and NYU ends at 10 m
            assert frame["image"][100:140, :2].min() > 140  # the white frame of NYU's colour images
    assert set(np.unique(test[0]["label"])) <= set(range(41)) and test[0]["label"].any()


def test_real_metric_frames(real_data, tmp_path):
    from experiments.prepare_nyu_frames import metric

    metric(real_data / "rgbd_metric", tmp_path)
    source = RgbdFolder(tmp_path, "test")
    assert len(source) == 33
    index = names(source).index("7scenes_redkitchen_0000")
    stored = np.asarray(Image.open(real_data / "rgbd_metric/7scenes_redkitchen_0000_depth.png"))
    np.testing.assert_allclose(source[index]["depth"][..., 0], stored / 1000, rtol=1e-6)
    np.testing.assert_array_equal(source[index]["intrinsics"], np.float32([292.5, 292.5, 160, 120]))
    unknown = source[names(source).index("sunrgbd_open3d")]  # the manifest knows no camera: the guess
    assert unknown["intrinsics"][0] == pytest.approx(160 / np.tan(np.pi / 6))


def test_preparing_the_repository_numbers_from_one_and_keeps_the_split(tmp_path):
    import scipy.io

    from experiments.prepare_nyu_frames import repository

    frames = tmp_path / "frames"
    frames.mkdir()
    values = np.random.default_rng(0).integers(1, 256, (2, 480, 640), dtype=np.uint8)
    blocks = picture(1, 12, 16).repeat(40, 0).repeat(40, 1)
    for i, image in enumerate((blocks, blocks[::-1])):  # files 00004 and 00007 are the official frames 5 and 8
        Image.fromarray(image).save(frames / f"{4 + 3 * i:05d}.jpg", quality=95)
        (frames / f"{4 + 3 * i:05d}.png").write_bytes(encode_png(values[i]))
    (tmp_path / "maxima.csv").write_text("id,max_depth_m,fit_score\n0005,5.1,6\n0008,10.2,7\n")
    train = np.setdiff1d(np.arange(1, 797), [8])
    test = np.setdiff1d(np.arange(1, 1450), train)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": train[:, None], "testNdxs": test[:, None]})
    repository(frames, tmp_path / "maxima.csv", tmp_path / "splits.mat", tmp_path / "out")
    for i, (split, name, step) in enumerate((("train", "0005", 0.02), ("test", "0008", 0.04))):
        source = RgbdFolder(tmp_path / "out", split)
        assert names(source) == [name]
        frame = source[0]
        np.testing.assert_allclose(frame["depth"][..., 0], (values[i, ::2, ::2] + 0.5) * step, rtol=1e-5)
        expected = (blocks, blocks[::-1])[i].reshape(240, 2, 320, 2, 3).mean((1, 3))
        assert np.abs(frame["image"] - expected).mean() < 6  # Lanczos rings beside the edges of the blocks
        np.testing.assert_allclose(frame["intrinsics"], [259.42895, 259.734806, 162.291225, 126.368083], rtol=1e-6)
    scipy.io.savemat(tmp_path / "splits.mat", {"trainNdxs": train[:, None], "testNdxs": train[:, None]})
    with pytest.raises(UserError, match=r"splits\.mat: not the official split"):
        repository(frames, tmp_path / "maxima.csv", tmp_path / "splits.mat", tmp_path / "out")

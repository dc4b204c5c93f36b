"""Transforms against SciPy's interpolation, worked examples, and the geometry of known planes."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pixlab.data import transforms as t
from pixlab.errors import UserError

MAPS = ("image", "depth", "label", "normal")
SIZE = (48, 64)


def frame(seed=0, size=SIZE):
    """Random content, read-only, so that a transform that writes into its input fails."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(*size, 3))
    new = {
        "image": rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        "depth": rng.uniform(1, 5, (*size, 1)).astype(np.float32),
        "label": rng.integers(1, 40, (*size, 1), dtype=np.int32),
        "normal": (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32),
        "intrinsics": np.float32([70, 75, size[1] / 2 - 1.7, size[0] / 2 + 1.1]),
        "name": "a frame",
    }
    for value in new.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return new


def ray(intrinsics, size):
    fx, fy, cx, cy = intrinsics.astype(float)
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)], -1)


PLANE, AWAY = (0.5, -0.3, -0.8), 2.0  # direction of the normal, distance in metres from the camera


def planar(normal=PLANE, size=(120, 160), intrinsics=(130.0, 144.0, 83.0, 57.0)):
    """A frame of one slanted plane."""
    intrinsics, normal = np.float32(intrinsics), np.array(normal) / np.linalg.norm(normal)
    depth = -AWAY / (ray(intrinsics, size) @ normal)
    return {
        "image": np.zeros((*size, 3), np.uint8),
        "depth": depth[..., None].astype(np.float32),
        "normal": np.broadcast_to(normal, (*size, 3)).astype(np.float32),
        "intrinsics": intrinsics,
    }


def assert_consistent(new, old):
    """Depth, normals and intrinsics still describe the plane of `old`, enlarged; returns (enlargement, new normal).

    Nearest-pixel sampling takes depth from up to half a pixel of `old` away in x and in y, and that is all. With m the
    normal and D the distance of the old plane, m.(x, y, 1) Z = -D for a ray (x, y, 1) of depth Z; the depth of a
    neighbour d away then puts a point off the plane by the share m.d Z / D, so by at most
    (|m_x| / f_x + |m_y| / f_y) / 2 * Z / D, whatever the scale, turn and crop.

    Normals fitted to the new depth would be a worse test: their error is not bounded so. Where a turn is small, the
    nearest pixels of a stretch of 1 / sin(turn) pixels are unturned copies of the old ones, and a fit to a window that
    falls into it finds the old normal, 1.2 degrees from the new one for this plane turned by 2 degrees.
    """
    size, m = new["depth"].shape[:2], old["normal"][0, 0].astype(float)
    seen = new["depth"][..., 0] > 0
    assert seen.mean() > 0.5
    np.testing.assert_array_equal(seen, np.any(new["normal"] != 0, axis=-1))
    normal = new["normal"][seen].astype(float)
    np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
    assert np.ptp(normal, axis=0).max() < 1e-5
    n = normal.mean(0)
    scale = np.hypot(*m[:2]) / -m[2] / (np.hypot(*n[:2]) / -n[2])  # a scene that is nearer is flatter
    away = AWAY / np.hypot(scale * m[2], np.hypot(*m[:2]))
    depth = new["depth"][..., 0][seen].astype(float)
    shares = -(ray(new["intrinsics"], size)[seen] @ n) * depth / away - 1
    bound = (np.abs(m[:2]) / old["intrinsics"][:2]).sum() / 2 * scale * depth / AWAY
    assert np.abs(shares / bound).max() < 1.002  # positions are exact to 1e-4 of a pixel, depth to 1e-7
    return scale, n


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 25.0, -8.0])
@pytest.mark.parametrize("scale", [1.0, 1.4])
def test_warp_keeps_depth_normals_and_intrinsics_of_a_plane_together(scale, degrees, mirror):
    old = planar()
    new = t.warp(old, size=(90, 130), scale=scale, degrees=degrees, top=11.3, left=17.8, mirror=mirror)
    found, n = assert_consistent(new, old)
    assert found == pytest.approx(scale, abs=1e-5)
    turn = np.radians(degrees)
    x, y, z = np.array(PLANE) * [1, 1, scale]
    x, y = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    expected = np.array([-x if mirror else x, y, z])
    np.testing.assert_allclose(n, expected / np.linalg.norm(expected), atol=1e-5)


def test_scale_tilts_normals_towards_the_camera():
    old = planar(normal=(0.6, 0, -0.8))
    scale, n = assert_consistent(t.warp(old, size=(90, 130), scale=1.5), old)
    assert scale == pytest.approx(1.5, abs=1e-5)
    expected = np.array([0.6, 0, -1.2]) / np.hypot(0.6, 1.2)
    np.testing.assert_allclose(n, expected, atol=1e-5)


@pytest.mark.parametrize(
    "transform", [t.flip, lambda f: t.centre(f, size=(91, 120)), lambda f: t.resize(f, size=(67, 91))]
)
def test_flip_centre_and_resize_keep_a_plane_together(transform):
    old = planar()
    assert assert_consistent(transform(old), old)[0] == pytest.approx(1, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
@example(563416)  # turned by 2 degrees
def test_augment_keeps_a_plane_together(seed):
    old = planar()
    scale, _ = assert_consistent(t.augment(old, np.random.default_rng(seed), size=(100, 140)), old)
    assert 1 - 1e-5 < scale < 1.5 + 1e-5


def test_warp_without_change_is_a_crop():
    old = frame()
    new, expected = t.warp(old, size=(30, 41), top=7.0, left=9.0), t.crop(old, top=7, left=9, size=(30, 41))
    for name in ("image", "depth", "label"):
        np.testing.assert_array_equal(new[name], old[name][7:37, 9:50])
        np.testing.assert_array_equal(new[name], expected[name])
    np.testing.assert_allclose(new["normal"], expected["normal"], atol=1e-6)
    np.testing.assert_allclose(new["intrinsics"], expected["intrinsics"], atol=1e-4)
    assert new["name"] == "a frame"


def test_mirrored_warp_is_a_flipped_crop():
    old = frame()
    new, expected = (
        t.warp(old, size=(30, 41), top=7.0, left=9.0, mirror=True),
        t.flip(t.crop(old, top=7, left=9, size=(30, 41))),
    )
    for name in ("image", "depth", "label"):
        np.testing.assert_array_equal(new[name], expected[name])
    np.testing.assert_allclose(new["normal"], expected["normal"], atol=1e-6)
    np.testing.assert_allclose(new["intrinsics"], expected["intrinsics"], atol=1e-4)


def test_quarter_turn_is_clockwise():
    old = frame(size=(20, 20)) | {"intrinsics": np.float32([50, 50, 9.5, 9.5])}
    new = t.warp(old, size=(20, 20), degrees=90 - 1e-7)
    for name in ("depth", "label"):
        np.testing.assert_array_equal(new[name], np.rot90(old[name], -1))
    assert np.abs(new["image"] - np.rot90(old["image"], -1).astype(float)).max() <= 1
    x, y, z = np.moveaxis(np.rot90(old["normal"], -1), -1, 0)
    np.testing.assert_allclose(new["normal"], np.stack([-y, x, z], -1), atol=1e-6)


def test_doubling_repeats_maps_and_halves_depth():
    old = frame()
    new = t.warp(old, size=(96, 128), scale=2.0)
    np.testing.assert_array_equal(new["label"], old["label"].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(new["depth"], old["depth"].repeat(2, 0).repeat(2, 1) / 2)


def test_image_is_interpolated_as_scipy_does_and_black_outside():
    old = frame()
    options = {"size": (40, 50), "scale": 1.2, "degrees": 30.0, "top": 3.3, "left": 8.1}
    new = t.warp(old, **options)
    fx, fy, cx, cy = old["intrinsics"].astype(float)
    back = ray(new["intrinsics"], (40, 50))  # turned and enlarged: undo both
    angle = np.radians(30)
    x = (np.cos(angle) * back[..., 0] + np.sin(angle) * back[..., 1]) / 1.2 * fx + cx
    y = (-np.sin(angle) * back[..., 0] + np.cos(angle) * back[..., 1]) / 1.2 * fy + cy
    inside = (x > 0) & (x < SIZE[1] - 1) & (y > 0) & (y < SIZE[0] - 1)
    outside = (x < -0.51) | (x > SIZE[1] - 0.49) | (y < -0.51) | (y > SIZE[0] - 0.49)
    assert inside.mean() > 0.5
    assert outside.any()
    for channel in range(3):
        expected = ndimage.map_coordinates(old["image"][..., channel].astype(float), [y, x], order=1)
        assert np.abs(new["image"][..., channel] - expected)[inside].max() <= 1
    for name in MAPS:
        assert not new[name][outside].any()
    np.testing.assert_array_equal(
        new["label"][inside][:, 0], old["label"][np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int), 0]
    )


def test_warp_without_maps_or_intrinsics():
    old = {"image": frame()["image"]}
    new = t.warp(old, size=(20, 30), scale=1.3, degrees=4.0, top=1.0, left=2.0)
    assert list(new) == ["image"]
    assert new["image"].shape == (20, 30, 3)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9))
def test_flipping_twice_changes_nothing(height, width):
    old = frame(size=(height, width))
    once = t.flip(old)
    np.testing.assert_array_equal(once["image"][:, 0], old["image"][:, -1])
    twice = t.flip(once)
    for name in MAPS:
        np.testing.assert_array_equal(twice[name], old[name])
    np.testing.assert_allclose(twice["intrinsics"], old["intrinsics"], atol=1e-5)


def test_augment_draws_what_it_says():
    old = frame() | {"depth": np.full((*SIZE, 1), 3, np.float32), "image": np.full((*SIZE, 3), 100, np.uint8)}
    old["normal"] = np.broadcast_to(np.float32([0.6, 0, -0.8]), (*SIZE, 3))
    rng = np.random.default_rng(0)
    scales, gains, mirrored, tops, lefts = [], [], [], [], []
    for _ in range(300):
        new = t.augment(old, rng, size=(40, 50), degrees=0.0, flip=0.3)
        scales.append(3 / new["depth"].max())
        gains.append(new["image"][20, 25] / 100)
        mirrored.append(new["normal"][20, 25, 0] < 0)
        cx, cy = (old["intrinsics"][2:] + 0.5) * scales[-1] - 0.5  # of the enlarged frame
        tops.append((cy - new["intrinsics"][3]) / (scales[-1] * SIZE[0] - 40))
        new_cx = 49 - new["intrinsics"][2] if mirrored[-1] else new["intrinsics"][2]
        lefts.append((cx - new_cx) / (scales[-1] * SIZE[1] - 50))
    gains = np.array(gains)
    for values, low, high in (
        (np.array(scales), 1, 1.5),
        (gains, 0.8, 1.2),
        (np.array(tops), 0, 1),
        (np.array(lefts), 0, 1),
    ):
        width = high - low
        assert low - 1e-3 < values.min() < low + 0.04 * width
        assert high - 0.04 * width < values.max() < high + 1e-3
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.06 * width)
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.2
    assert np.mean(mirrored) == pytest.approx(0.3, abs=0.08)


def test_augment_turns_both_ways_up_to_the_limit():
    old = planar(normal=(0.6, 0, -0.8))
    rng = np.random.default_rng(0)
    turned = [t.augment(old, rng, size=(50, 60), scale=(1.0, 1.0), flip=0.0)["normal"][25, 30] for _ in range(100)]
    angles = np.degrees(np.arctan2(np.array(turned)[:, 1], np.array(turned)[:, 0]))
    assert -5 <= angles.min() < -4.7
    assert 4.7 < angles.max() <= 5


def test_augment_repeats_with_the_same_seed():
    first, again, other = (t.augment(frame(), np.random.default_rng(s), size=(40, 50)) for s in (7, 7, 8))
    for name in MAPS:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_smaller_frames_and_wrong_sizes_are_named():
    with pytest.raises(UserError, match="48x64 is smaller than the crop of 50x60"):
        t.augment(frame(), np.random.default_rng(0), size=(50, 60))
    with pytest.raises(UserError, match="48x64 is smaller than the crop of 48x65"):
        t.centre(frame(), size=(48, 65))
    wrong = frame() | {"depth": np.ones((24, 32, 1), np.float32)}
    for transform in (t.flip, t.finish, lambda f: t.centre(f, size=(8, 8)), lambda f: t.resize(f, size=(8, 8))):
        with pytest.raises(UserError, match="image is 48x64 but the depth is 24x32"):
            transform(wrong)
    with pytest.raises(UserError, match="'flow'"):
        t.flip(frame() | {"flow": np.zeros((*SIZE, 2))})
    with pytest.raises(UserError, match="row -1, column 0"):
        t.crop(frame(), top=-1, left=0, size=(8, 8))


def test_centre_of_the_published_size():
    old = frame(size=(240, 320))
    new = t.centre(old, size=(228, 304))
    for name in MAPS:
        np.testing.assert_array_equal(new[name], old[name][6:234, 8:312])
    np.testing.assert_allclose(new["intrinsics"], old["intrinsics"] - np.float32([0, 0, 8, 6]))


def test_halving_takes_means_of_images_and_pixels_of_maps():
    old = frame()
    new = t.resize(old, size=(24, 32))
    means = old["image"].reshape(24, 2, 32, 2, 3).astype(float).mean((1, 3))
    assert np.abs(new["image"] - means).max() <= 1  # PIL rounds twice
    for name in ("depth", "label", "normal"):
        np.testing.assert_array_equal(new[name], old[name][1::2, 1::2])
    # The corner between four pixels becomes the centre of one: both rays are the same.
    corner = (np.array([10.5, 20.5]) - old["intrinsics"][2:]) / old["intrinsics"][:2]
    np.testing.assert_allclose((np.array([5, 10]) - new["intrinsics"][2:]) / new["intrinsics"][:2], corner, rtol=1e-5)


def test_growing_repeats_maps_and_interpolates_images():
    old = frame()
    new = t.resize(old, size=(96, 128))
    np.testing.assert_array_equal(new["label"], old["label"].repeat(2, 0).repeat(2, 1))
    v, u = (np.arange(2, 94) + 0.5) / 2 - 0.5, (np.arange(2, 126) + 0.5) / 2 - 0.5
    expected = ndimage.map_coordinates(old["image"][..., 0].astype(float), np.meshgrid(v, u, indexing="ij"), order=1)
    assert np.abs(new["image"][2:94, 2:126, 0] - expected).max() <= 1.5
    assert all(t.resize(old, size=SIZE)[name] is old[name] for name in MAPS)


def test_colour_gain_rounds_and_saturates():
    old = {"image": np.array([[[100, 100, 100], [250, 3, 0]]], np.uint8)}
    new = t.colour_gain(old, (1.2, 0.8, 1.0))
    np.testing.assert_array_equal(new["image"], [[[120, 80, 100], [255, 2, 0]]])


def test_extremes_are_masked():
    depth = np.float32([0, 1, 1, 2, 3, 7]).reshape(2, 3, 1)
    new = t.mask_extremes({"image": np.zeros((2, 3, 3), np.uint8), "depth": depth})
    np.testing.assert_array_equal(new["depth"].ravel(), [0, 0, 0, 2, 3, 0])
    empty = t.mask_extremes({"depth": 0 * depth})
    assert not empty["depth"].any()


def test_finish():
    old = frame(size=(2, 3))
    depth = np.float32([0, 1, np.nan, np.inf, -1, 2]).reshape(2, 3, 1)
    normal = np.zeros((2, 3, 3), np.float32)
    normal[0, 1] = (0, 0, -1)
    new = t.finish(old | {"depth": depth, "normal": normal})
    assert new["image"].dtype == np.float32
    np.testing.assert_allclose(new["image"], old["image"] / 255, atol=1e-7)
    np.testing.assert_array_equal(new["depth"].ravel(), [0, 1, 0, 0, 0, 2])
    np.testing.assert_array_equal(new["valid"].ravel(), [0, 1, 0, 0, 0, 1])
    np.testing.assert_array_equal(new["normal_valid"].ravel(), [0, 1, 0, 0, 0, 0])
    assert new["label"] is old["label"]
    assert "valid" not in t.finish({"image": old["image"]})


def test_depth_that_is_the_same_everywhere_is_not_masked():
    depth = np.float32([0, 2, 2, 2]).reshape(2, 2, 1)
    np.testing.assert_array_equal(t.mask_extremes({"depth": depth})["depth"], depth)

"""The procedural rooms: the same bits everywhere, exact geometry, sound scenes, and a builder without TensorFlow."""

import hashlib
import io
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import scipy.ndimage

from pixlab.data import rooms_fixtures as fixtures
from pixlab.data import rooms_furniture as furniture
from pixlab.data import rooms_labels as labels
from pixlab.data.rooms import BASELINE, CLEARANCE, LABELS, frame, look
from pixlab.data.rooms_cast import Box, Camera, Scene, Thing, blocked, cast
from pixlab.data.rooms_draw import Draw
from pixlab.data.rooms_record import PICTURES, example, picture, record, records
from pixlab.data.rooms_render import render
from pixlab.data.rooms_scene import sample_scene
from pixlab.data.rooms_texture import PLAIN, TILES, Material, Textures, line
from pixlab.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = (0, 5, 10, 13)
GREY = Material(PLAIN, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
EMPTY = tuple((labels.WALL, GREY) for _ in range(4)) + ((labels.FLOOR, GREY), (labels.CEILING, GREY))


@pytest.fixture(scope="module")
def frames():
    return {seed: frame(seed) for seed in SEEDS}


def simple_scene(*things):
    return Scene((4.0, 5.0, 2.5), EMPTY, things, (2.0, 2.0, 2.3), 1.0, 1.0, (1.0, 0.0, 0.0))


def pixel_rays(intrinsics, height, width):
    fx, fy, cx, cy = intrinsics.astype(np.float64)
    v, u = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u)], -1)


def digest(example):
    total = hashlib.sha256()
    for name in sorted(example):
        array = np.ascontiguousarray(example[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:32]


PINS = {
    (0, 48, 64): "d257801831d3d7f49eb2c3123ffb100e",
    (1_000_000, 48, 64): "28e7bd6b45ee0bab514394f5fe8cd38c",
    (7, 120, 160): "de74089de53cfa6a9366537d24aabad8",
}


@pytest.mark.parametrize("seed, height, width", PINS)
def test_the_same_bits_on_every_machine(seed, height, width):
    assert digest(frame(seed, height=height, width=width)) == PINS[seed, height, width]


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="0 or more"):
        frame(-1)


def test_the_frame_keeps_its_promises(frames):
    for f in frames.values():
        assert {name: (a.dtype.name, a.shape) for name, a in f.items()} == {
            **dict.fromkeys(("image", "right", "second"), ("uint8", (120, 160, 3))),
            **dict.fromkeys(("depth", "disparity"), ("float32", (120, 160, 1))),
            **dict.fromkeys(("occluded", "flow_occluded"), ("uint8", (120, 160, 1))),
            **dict.fromkeys(("pose", "second_pose"), ("float64", (4, 4))),
            "normal": ("float32", (120, 160, 3)),
            "label": ("int32", (120, 160, 1)),
            "flow": ("float32", (120, 160, 2)),
            "intrinsics": ("float32", (4,)),
            "baseline": ("float32", ()),
        }
        assert f["depth"].min() > 0.2 and f["depth"].max() < 9
        assert f["label"].min() > 0 and f["label"].max() < len(LABELS)
        assert 60 < f["image"].mean() < 200 and f["image"].std() > 20
        for name in ("pose", "second_pose"):
            rotation = f[name][:3, :3]
            np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
            assert np.linalg.det(rotation) > 0
            assert rotation[2, 1] < -0.8  # the camera's y axis points down
            assert 0.9 < f[name][2, 3] < 1.8


def test_depth_of_a_box_by_hand():
    # Camera at y = 1, looking along +y; the front of the box is at y = 3: depth 2, one metre wide and 0.6 tall.
    box = Box((-0.5, -0.25, 0.9), (0.5, 0.25, 1.5), labels.TABLE, GREY)
    scene = simple_scene(Thing((box,), (2.0, 3.25, 0.0)))
    camera = Camera(look((2.0, 1.0, 1.2), (0.0, 3.0, 0.0), 0.0), np.array([80.0, 80.0, 49.5, 39.5]))
    view = render(scene, camera, height=80, width=100)
    expected = np.full((80, 100), np.nan)
    for v in range(80):
        for u in range(100):
            x, y = (u - 49.5) / 80, (v - 39.5) / 80
            if abs(2 * x) < 0.5 and abs(2 * y) < 0.3:
                expected[v, u] = 2.0
            else:  # far wall 4 m ahead, side walls 2 m aside, floor 1.2 m below, ceiling 1.3 m above
                expected[v, u] = min(4.0, 2.0 / abs(x), 1.2 / y if y > 0 else -1.3 / y)
    np.testing.assert_allclose(view["depth"][:, :, 0], expected, rtol=0, atol=1e-12)
    assert (view["label"][39, 49, 0], view["label"][0, 49, 0], view["label"][79, 49, 0], view["label"][39, 0, 0]) == (
        labels.TABLE, labels.CEILING, labels.FLOOR, labels.WALL,
    )  # fmt: skip
    np.testing.assert_array_equal(view["normal"][39, 49], (0, 0, -1))  # faced head-on
    np.testing.assert_array_equal(view["normal"][79, 49], (0, -1, 0))  # the floor points up
    np.testing.assert_array_equal(view["normal"][39, 0], (1, 0, 0))  # the wall on the left points right


def test_a_turned_box_by_hand():
    # A cube turned by 45 degrees shows its edge: the nearest point is half a diagonal before its middle.
    half = np.sqrt(0.5)
    box = Box((-0.5, -0.5, 0.0), (0.5, 0.5, 2.0), labels.CABINET, GREY)
    scene = simple_scene(Thing((box,), (2.0, 3.0, 0.0), (half, half)))
    camera = Camera(look((2.0, 0.5, 1.2), (0.0, 1.0, 0.0), 0.0), np.array([50.0, 50.0, 50.0, 40.0]))
    view = render(scene, camera, height=81, width=101)
    assert abs(view["depth"][40, 50, 0] - (2.5 - half)) < 1e-12
    # the right flank: y = 3 - half + (x - 2) in the world, so depth z = (2.5 - half) + X with X = z (u - cx) / fx
    x = (55 - 50) / 50
    assert abs(view["depth"][40, 55, 0] - (2.5 - half) / (1 - x)) < 1e-12
    np.testing.assert_allclose(view["normal"][40, 55], (half, 0, -half), atol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("depths", [(0.02, 1.0), (1.0, 0.02), (0.02, 0.02)])
def test_the_nearer_of_two_things_wins(order, depths):
    # fronts at 2 m and at 2.01 m; things are sorted by their middles, which must not matter
    near = Box((-0.5, 2.0, 0.0), (0.5, 2.0 + depths[0], 2.0), labels.TABLE, GREY)
    far = Box((-0.5, 2.01, 0.0), (0.5, 2.01 + depths[1], 2.0), labels.CABINET, GREY)
    scene = simple_scene(*[Thing((box,), (2.0, 1.0, 0.0)) for box in (near, far)][::order])
    hits = cast(scene, np.array([2.0, 1.0, 1.0]), np.array([[0.0], [1.0], [0.0]]))
    assert hits.t[0] == 2.0 and scene.tables["label"][hits.surface[0]] == labels.TABLE


def test_nothing_lies_before_the_surface_that_was_met():
    scene = sample_scene(10)
    origin = np.array(frame(10, height=24, width=32)["pose"][:3, 3])
    direction = np.random.default_rng(0).normal(size=(3, 400))
    hits = cast(scene, origin, direction)
    share = np.linspace(0.002, 0.9995, 300)[:, None]
    inside_any, on_any = np.zeros(400, bool), np.zeros(400, bool)
    for thing in scene.things:
        (c, s), place = thing.turn, np.array(thing.place)
        to_local = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        start, step = to_local @ (origin - place), (to_local @ direction) * hits.t
        for box in thing.boxes:
            low, high = np.array(box.low)[:, None, None], np.array(box.high)[:, None, None]
            path = start[:, None, None] + share[None] * step[:, None]
            inside_any |= np.all((path > low) & (path < high), axis=0).any(0)
            end = start[:, None] + step
            near = np.all((end > low[:, 0] - 1e-9) & (end < high[:, 0] + 1e-9), axis=0)
            on_any |= near & (np.minimum(np.abs(end - low[:, 0]), np.abs(end - high[:, 0])).min(0) < 1e-9)
    assert not inside_any.any()
    thing_met = hits.surface >= 6
    assert 0.1 < thing_met.mean() < 0.9
    assert on_any[thing_met].all()
    end = origin[:, None] + hits.t * direction
    wall = np.minimum(np.abs(end), np.abs(end - np.array(scene.size)[:, None])).min(0)
    assert wall[~thing_met].max() < 1e-9


def test_blocked_by_hand():
    box = Box((-0.5, -0.5, 0.0), (0.5, 0.5, 1.0), labels.TABLE, GREY)
    scene = simple_scene(Thing((box,), (2.0, 2.0, 0.0)))
    points = np.array([[2, 3.5, 0.5], [2, 1.5, 0.5], [2, 1.0, 0.5], [3.8, 3.5, 0.5], [2, 2, 1.0], [2, 3.5, 1.45]]).T
    seen = blocked(scene, np.array([2.0, 0.5, 1.2]), points)
    # behind the box; on its front; before it; beside it; on its top; behind it and above the line over its top
    assert seen.tolist() == [True, False, False, False, False, False]
    assert blocked(scene, np.array([2.0, 0.5, 1.2]), np.array([[2.0], [3.5], [0.9]])).tolist() == [True]


def test_depth_and_normals_agree_with_planes_fitted_to_the_points(frames):
    checked = 0
    for f in frames.values():
        ray = pixel_rays(f["intrinsics"], 120, 160)
        points, normal, label = ray * f["depth"], f["normal"].astype(np.float64), f["label"][:, :, 0]
        np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-6)
        assert (np.sum(normal * points, -1) < 0).all()  # towards the camera
        for name in ("floor", "wall", "ceiling"):
            for n in np.unique(f["normal"][label == LABELS.index(name)], axis=0):
                at = (label == LABELS.index(name)) & (f["normal"] == n).all(-1)
                if at.sum() > 50:
                    cloud = points[at]
                    centre = cloud.mean(0)
                    axis = np.linalg.svd(cloud - centre, full_matrices=False)[2][2]
                    assert np.abs((cloud - centre) @ axis).max() < 1e-6
                    assert abs(axis @ n) > 1 - 1e-6
                    checked += 1
    assert checked >= 8


def test_normals_of_furniture_agree_with_differences_of_the_points(frames):
    for seed in SEEDS:
        f = frames[seed]
        points = pixel_rays(f["intrinsics"], 120, 160) * f["depth"].astype(np.float64)
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        cross = np.cross(down, across)
        cross /= np.linalg.norm(cross, axis=-1, keepdims=True)
        n, label = f["normal"], f["label"]
        # the neighbours have the same normal and label: nearly always they lie on the same face
        same = np.ones((118, 158), bool)
        for i, j in ((0, 1), (2, 1), (1, 0), (1, 2)):
            same &= (n[i : i + 118, j : j + 158] == n[1:-1, 1:-1]).all(-1)
            same &= (label[i : i + 118, j : j + 158] == label[1:-1, 1:-1])[..., 0]
        furnished = same & (label[1:-1, 1:-1, 0] > LABELS.index("picture"))
        agree = np.sum(cross * n[1:-1, 1:-1], -1) > 0.9999
        assert furnished.sum() > 200
        assert agree[furnished].mean() > 0.9 and agree[same].mean() > 0.95
        slant = furnished & (np.abs(n[1:-1, 1:-1, 0]) > 0.1)  # a wrong sign or a swapped axis would show here
        assert slant.sum() > 50 and agree[slant].mean() > 0.8


def test_flow_is_where_the_second_camera_sees_the_points(frames):
    for f in frames.values():
        points = pixel_rays(f["intrinsics"], 120, 160) * f["depth"].astype(np.float64)
        move = np.linalg.inv(f["second_pose"]) @ f["pose"]
        moved = points @ move[:3, :3].T + move[:3, 3]
        fx, fy, cx, cy = f["intrinsics"].astype(np.float64)
        x, y = fx * moved[..., 0] / moved[..., 2] + cx, fy * moved[..., 1] / moved[..., 2] + cy
        v, u = np.mgrid[:120, :160]
        np.testing.assert_allclose(u + f["flow"][..., 0], x, atol=1e-4)
        np.testing.assert_allclose(v + f["flow"][..., 1], y, atol=1e-4)
        assert 0.3 < np.linalg.norm(f["flow"], axis=-1).mean() < 30


def sample(image, x, y):
    """Bilinear samples of an image at (x, y), by SciPy."""
    where = np.stack([y, x])
    channels = [scipy.ndimage.map_coordinates(image[..., c].astype(np.float64), where, order=1) for c in range(3)]
    return np.stack(channels, -1)


def test_occlusion_agrees_with_a_depth_buffer_of_the_second_view():
    f = frame(10)
    camera = Camera(f["second_pose"], f["intrinsics"].astype(np.float64))
    buffer = render(sample_scene(10), camera, height=120, width=160)["depth"][:, :, 0]
    v, u = np.mgrid[:120, :160]
    x, y = np.rint(u + f["flow"][..., 0]).astype(int), np.rint(v + f["flow"][..., 1]).astype(int)
    inside = (x >= 0) & (x < 160) & (y >= 0) & (y < 120)
    occluded = f["flow_occluded"][..., 0] > 0
    assert occluded[~inside].all()
    points = pixel_rays(f["intrinsics"], 120, 160) * f["depth"].astype(np.float64)
    move = np.linalg.inv(f["second_pose"]) @ f["pose"]
    z = (points @ move[:3, :3].T + move[:3, 3])[..., 2]
    # the nearest pixel is up to half a pixel off: its neighbourhood must hold the depth of a point that is seen ...
    low = scipy.ndimage.minimum_filter(buffer, 3)[y.clip(0, 119), x.clip(0, 159)]
    high = scipy.ndimage.maximum_filter(buffer, 3)[y.clip(0, 119), x.clip(0, 159)]
    seen = inside & ~occluded
    assert seen.mean() > 0.6
    assert np.mean((z > low - 0.02) & (z < high + 0.02), where=seen) > 0.995
    # ... and something nearer than a point that is hidden
    hidden = inside & occluded
    assert hidden.sum() > 50
    assert np.mean(low < z - 1e-3, where=hidden) > 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_view_matches_at_the_disparity(frames, seed):
    f = frames[seed]
    np.testing.assert_allclose(f["disparity"], f["intrinsics"][0] * BASELINE / f["depth"], rtol=1e-6)
    v, u = np.mgrid[:120, :160].astype(np.float64)
    d, seen = f["disparity"][..., 0].astype(np.float64), f["occluded"][..., 0] == 0
    assert 0.5 < seen.mean() < 1
    assert not seen[(u - d) < -0.5].any()
    error = {
        shift: np.abs(sample(f["right"], u - d + shift, v) - f["image"])[seen].mean() for shift in (-3, -1, 0, 1, 3)
    }
    assert error[0] < 4  # of 255
    assert error[0] < 0.8 * min(error[-1], error[1]) and error[0] < 0.5 * min(error[-3], error[3])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_second_view_matches_at_the_flow(frames, seed):
    f = frames[seed]
    v, u = np.mgrid[:120, :160].astype(np.float64)
    seen = f["flow_occluded"][..., 0] == 0
    there = sample(f["second"], u + f["flow"][..., 0], v + f["flow"][..., 1])[seen]
    here = f["image"][seen].astype(np.float64)
    there *= here.mean() / there.mean()  # the second moment has its own exposure
    shifted = sample(f["second"], u + f["flow"][..., 0] + 3, v + f["flow"][..., 1])[seen]
    shifted *= here.mean() / shifted.mean()
    assert np.abs(there - here).mean() < 6
    assert np.abs(there - here).mean() < 0.7 * np.abs(shifted - here).mean()


def test_things_keep_out_of_one_another():
    rng = np.random.default_rng(0)
    for seed in range(15):
        scene = sample_scene(seed)
        clouds = []
        for thing in scene.things:
            (c, s), place = thing.turn, np.array(thing.place)
            low, high = thing.low[:, None], thing.high[:, None]
            local = (low + (high - low) * rng.uniform(0.001, 0.999, (len(thing.boxes), 40, 3))).reshape(-1, 3)
            clouds.append(local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + place)
            assert (clouds[-1] > -1e-9).all() and (clouds[-1] < np.array(scene.size) + 1e-9).all()
        for i, thing in enumerate(scene.things):
            others = np.concatenate([cloud for j, cloud in enumerate(clouds) if j != i])
            (c, s), place = thing.turn, np.array(thing.place)
            local = (others - place) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            inside = (local[:, None] > thing.low + 1e-9) & (local[:, None] < thing.high - 1e-9)
            assert not inside.all(-1).any(), (seed, i)


PIECES = (
    furniture.table, furniture.chair, furniture.sofa, furniture.bed, furniture.shelf, furniture.cabinet,
    furniture.floor_lamp, furniture.crate, fixtures.door, fixtures.window, fixtures.picture, fixtures.pendant,
)  # fmt: skip


@pytest.mark.parametrize("make", PIECES, ids=lambda make: make.__name__)
def test_the_boxes_of_a_piece_touch_but_do_not_overlap(make):
    for seed in range(25):
        thing = Thing(tuple(make(Draw(seed, 9))))
        low, high = thing.low, thing.high
        assert (high > low).all()
        shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
        overlapping = (shared > 1e-9).all(-1) & ~np.eye(len(low), dtype=bool)
        assert not overlapping.any(), (make, seed, [thing.boxes[i] for i in np.argwhere(overlapping)[0]])
        if make not in (fixtures.window, fixtures.picture, fixtures.pendant):
            assert low[:, 2].min() == 0  # it stands on the floor
            # and nothing floats: the underside of each box is on the floor or on the top of another, or it touches one
            touching = (shared > -1e-9).all(-1) & ~np.eye(len(low), dtype=bool)
            assert (touching.any(1) | (low[:, 2] == 0)).all(), (make, seed)


def test_the_cameras_stand_free(frames):
    for seed in SEEDS:
        f, scene = frames[seed], sample_scene(seed)
        for matrix, clearance in ((f["pose"], CLEARANCE), (f["second_pose"], 0.1)):
            eye = matrix[:3, 3]
            assert (eye > clearance).all() and (eye < np.array(scene.size) - clearance).all()
            for thing in scene.things:
                (c, s), place = thing.turn, np.array(thing.place)
                local = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) @ (eye - place)
                outside = np.maximum(thing.low - local, local - thing.high).max(1)
                assert outside.min() > clearance - 1e-9
        assert 1.0 <= f["pose"][2, 3] <= 1.7


def test_all_labels_occur_and_rooms_differ(frames):
    found = np.concatenate([sample_scene(seed).tables["label"] for seed in range(30)])
    assert set(found.tolist()) == set(range(1, len(LABELS)))
    assert sum(len(np.unique(f["label"])) >= 5 for f in frames.values()) == len(frames)
    assert len({f["image"].tobytes() for f in frames.values()}) == len(frames)
    means = [float(f["depth"].mean()) for f in frames.values()]
    assert max(means) - min(means) > 0.3


def test_the_lamp_casts_a_shadow_and_fades():
    # A board hangs under the lamp: the floor below it is in the dark, the floor aside is not.
    board = Box((-0.4, -0.4, 1.0), (0.4, 0.4, 1.05), labels.TABLE, GREY)
    camera = Camera(look((2.0, 0.3, 0.5), (0.0, 1.0, -0.25), 0.0), np.array([60.0, 60.0, 49.5, 39.5]))
    scenes = simple_scene(), simple_scene(Thing((board,), (2.0, 2.0, 0.0)))
    lit, shadowed = (render(scene, camera, height=80, width=100) for scene in scenes)
    points = lit["points"].T.reshape(80, 100, 3)
    floor = (lit["label"][..., 0] == labels.FLOOR) & (shadowed["label"][..., 0] == labels.FLOOR)
    ratio = shadowed["light"].mean(-1) / lit["light"].mean(-1)
    # similar triangles: lamp at 2.3, board's top at 1.05 (rays that graze its sides go by its lower edge, at 1.0)
    reach = np.abs(points[..., :2] - 2).max(-1)
    # of pixels whose neighbours agree, since colours at edges are averaged
    dark, bright = floor & (reach < 0.4 * 2.3 / 1.3 - 0.05), floor & (reach > 0.4 * 2.3 / 1.25 + 0.05)
    assert dark.sum() > 100 and bright.sum() > 100
    assert ratio[dark].max() < 0.8
    np.testing.assert_allclose(np.median(ratio[bright]), 1, atol=1e-6)
    assert ratio[bright].min() > 0.95


def test_textures_are_filtered_to_the_pixel():
    # Box-filtered line against a fine sum; and a tiled floor seen from afar keeps its mean brightness.
    x = np.linspace(-0.03, 0.03, 61)
    offsets = (np.arange(4000) + 0.5) / 4000 - 0.5
    expected = np.mean(np.abs(x[:, None] + 0.02 * offsets) < 0.004, axis=1)
    np.testing.assert_allclose(line(np.abs(x), 0.004, np.full(61, 0.02)), expected, atol=1e-3)
    tiles = Material(TILES, (0.6, 0.6, 0.6), (0.2, 0.2, 0.2), (0.1, 0.1), mottle=0.0, gap=0.01, vary=0.1)
    u, v = np.random.default_rng(0).uniform(0, 10, (2, 20000))
    near, far = (Textures([tiles])(np.zeros(20000, int), u, v, np.full(20000, f))[0].mean() for f in (0.001, 0.05))
    assert abs(near - far) < 0.03
    # 1 - (0.08 / 0.1)^2 of the floor is gap
    assert abs(near - (0.6 - 0.36 * 0.4)) < 0.01


def test_a_record_comes_back():
    stored, made = record(3, height=60, width=80), frame(3, height=60, width=80)
    back = example(stored)
    assert set(back) == set(made)
    for name in ("image", "right", "second", "normal", "label", "occluded", "flow_occluded", "pose", "second_pose"):
        np.testing.assert_array_equal(back[name], made[name])
    np.testing.assert_allclose(back["depth"], made["depth"], rtol=0, atol=0.000126)
    np.testing.assert_allclose(back["disparity"], made["disparity"], rtol=5e-4)
    np.testing.assert_allclose(back["flow"], made["flow"], atol=0.02)
    assert {name: a.dtype for name, a in back.items()} == {name: a.dtype for name, a in made.items()}
    plain = example(stored, stereo=False)
    assert set(plain) == {"image", "depth", "normal", "label", "intrinsics"}
    np.testing.assert_array_equal(picture(made["image"]), made["image"])


def test_worker_processes_make_the_same_records_in_order():
    for stored, seed in zip(records([4, 2, 9], height=24, width=32, workers=2), (4, 2, 9), strict=True):
        assert stored["seed"] == seed
        assert digest(example(stored)) == digest(example(record(seed, height=24, width=32)))


CHILD = """
import sys
from pixlab.data.builders.rooms import prepare
prepare(sys.argv[1], train=200, test=1, workers=1)
"""


def test_builder_prepares_and_reads_without_tensorflow(tmp_path, capfd):
    pytest.importorskip("tensorflow_datasets")
    from pixlab.data.builders.rooms import TEST_SEEDS, RoomsSource, prepare

    with pytest.raises(UserError, match="not prepared"):
        RoomsSource(tmp_path, "train")
    builder = prepare(tmp_path, train=2, test=1, workers=1)
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 2 and "making rooms: train 2/2" in err and "\r" not in err
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {"train": 2, "test": 1}
    assert builder.info.metadata["labels"] == list(LABELS)
    source = pickle.loads(pickle.dumps(RoomsSource(tmp_path, "train", stereo=True)))
    assert len(source) == 2 and len(RoomsSource(tmp_path, "train[:50%]")) == 1
    want = {digest(example(record(seed))) for seed in (0, 1)}
    assert {digest(source[i]) for i in range(2)} == want
    (decoded,) = builder.as_data_source(split="test")  # the pictures decoded by TFDS
    assert decoded["seed"] == TEST_SEEDS
    assert digest(example(decoded)) == digest(example(record(TEST_SEEDS)))
    np.testing.assert_array_equal(RoomsSource(tmp_path, "test")[0]["image"], frame(TEST_SEEDS)["image"])
    assert capfd.readouterr().out == ""
    assert "tensorflow" not in sys.modules
    stamp = os.stat(builder.data_path).st_mtime_ns
    prepare(tmp_path, train=2, test=1)  # is there already
    with pytest.raises(UserError, match="another data_dir"):
        prepare(tmp_path)
    assert os.stat(builder.data_path).st_mtime_ns == stamp


class Stream(io.StringIO):
    def __init__(self, live):
        super().__init__()
        self.isatty = lambda: live


@pytest.mark.parametrize("live", [False, True])
def test_progress_is_a_line_now_and_then_or_one_live_line(monkeypatch, live):
    pytest.importorskip("tensorflow_datasets")
    from pixlab.data.builders import rooms as builder

    now = [0.0]

    def slow(seeds, workers):  # a second for each
        for _ in seeds:
            now[0] += 1
            yield dict.fromkeys(PICTURES, b"")

    monkeypatch.setattr(builder, "records", slow)
    monkeypatch.setattr(builder, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sys, "stderr", Stream(live))
    options = types.SimpleNamespace(_workers=1, _progress=True)
    seeds = range(builder.TEST_SEEDS, builder.TEST_SEEDS + 100)
    assert [seed for seed, _ in builder.Rooms._generate_examples(options, seeds)] == list(seeds)
    text = sys.stderr.getvalue()
    done = [int(part.split("/")[0]) for part in text.split("making rooms: test ")[1:]]
    if live:
        assert text.count("\r") == 100 and text.count("\n") == 1 and text.endswith("test 100/100\n")
    else:
        assert "\r" not in text and text.count("\n") == len(done) == 10
        assert min(np.diff([0, *done[:-1]])) >= 10 and done[-1] == 100


def test_a_killed_preparation_leaves_nothing_that_looks_prepared(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    from pixlab.data.builders.rooms import RoomsSource

    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("rooms/*incomplete*")):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "rooms" / "1.0.0").exists()
    with pytest.raises(UserError, match="not prepared"):
        RoomsSource(tmp_path, "train")

"""Normals from depth: exact planes, a sphere, holes, and a double loop."""

import numpy as np
import pytest

from pixlab.data.normals_from_depth import local_planes, normals_from_depth

INTRINSICS = np.float32([60, 63, 30.4, 22.1])
SIZE = (44, 60)


def rays(size=SIZE, intrinsics=INTRINSICS):
    fx, fy, cx, cy = intrinsics.astype(float)
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    return np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)], -1)


def plane(normal, distance, size=SIZE, intrinsics=INTRINSICS):
    """Depth [H, W, 1] of the plane normal . X = -distance, and the unit normal."""
    normal = np.array(normal, float) / np.linalg.norm(normal)
    return (-distance / (rays(size, intrinsics) @ normal))[..., None], normal


def degrees(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.5, -0.3, -0.8), (-0.6, 0, -0.5), (0, -0.9, -0.6)])
@pytest.mark.parametrize("distance", [0.7, 6.0])
def test_planes_are_recovered(normal, distance):
    depth, true = plane(normal, distance)
    assert depth.min() > 0
    found, valid = normals_from_depth(depth, INTRINSICS)
    assert valid.shape == (*SIZE, 1)
    assert valid.min() == 1
    assert degrees(found.astype(float), true).max() < 1e-3
    _, confidence = local_planes(depth, INTRINSICS)
    assert confidence.min() > 0.999


def test_wall_faced_head_on():
    found, _ = normals_from_depth(np.full((12, 12, 1), 2.0), INTRINSICS)
    np.testing.assert_allclose(found, np.broadcast_to([0, 0, -1], (12, 12, 3)), atol=1e-6)


def test_sphere():
    intrinsics = np.float32([600, 600, 30, 22])
    ray, centre, radius = rays(SIZE, intrinsics), np.array([0, 0, 3.0]), 0.5
    a, b, c = np.sum(ray**2, -1), ray @ centre, centre @ centre - radius**2
    z = (b - np.sqrt(b**2 - a * c)) / a
    true = (ray * z[..., None] - centre) / radius
    found, valid = normals_from_depth(z[..., None], intrinsics)
    inner = (slice(9, -9), slice(9, -9))  # the stencil is one-sided at the border
    assert valid.min() == 1
    error = degrees(found.astype(float), true)
    assert error[inner].max() < 0.1
    assert degrees(found.astype(float), [0, 0, -1])[inner].max() > 3  # and it is no wall


def test_normals_face_the_camera():
    rng = np.random.default_rng(0)
    depth = np.cumsum(rng.normal(0, 0.01, (*SIZE, 1)), axis=0) + 2
    found, valid = normals_from_depth(depth, INTRINSICS)
    towards = np.sum(found * rays() * depth, axis=-1)
    assert np.all(towards[valid[..., 0] > 0] < 0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), valid[..., 0], atol=1e-6)


def test_holes_are_invalid_and_do_not_spoil_their_neighbours():
    depth, true = plane((0.5, -0.3, -0.8), 2)
    holes = np.random.default_rng(0).random(depth.shape) < 0.4
    found, valid = normals_from_depth(np.where(holes, 0, depth), INTRINSICS)
    np.testing.assert_array_equal(valid > 0, ~holes)
    np.testing.assert_array_equal(found[holes[..., 0]], 0)
    assert degrees(found.astype(float), true)[~holes[..., 0]].max() < 1e-3


def test_other_side_of_a_depth_step_is_no_neighbour():
    near, a = plane((0.3, 0, -1), 1)
    far, b = plane((-0.3, 0.2, -1), 3)
    depth = near.copy()
    depth[:, 30:] = far[:, 30:]
    found, valid = normals_from_depth(depth, INTRINSICS)
    assert valid.min() == 1
    assert degrees(found[:, :30].astype(float), a).max() < 1e-3
    assert degrees(found[:, 30:].astype(float), b).max() < 1e-3
    mixed, _ = normals_from_depth(depth, INTRINSICS, threshold=10.0)
    assert degrees(mixed[:, 29].astype(float), a).max() > 5


def test_too_few_points_and_points_on_a_line():
    depth = np.zeros((20, 20, 1))
    depth[5, 5] = depth[5, 6] = 2
    assert normals_from_depth(depth, INTRINSICS)[1].sum() == 0
    depth[5] = 2
    assert normals_from_depth(depth, INTRINSICS)[1].sum() == 0
    depth[5, :, 0] = np.linspace(2, 2.3, 20) ** 2 / 2  # a curve in one row lies in a plane through the camera
    assert normals_from_depth(depth, INTRINSICS)[1].sum() == 0
    depth[5] = depth[6, 5] = 2
    assert normals_from_depth(depth, INTRINSICS)[1][5, 5] == 1
    found, valid = normals_from_depth(np.zeros((4, 4, 1)), INTRINSICS)
    assert not found.any() and not valid.any()


def test_three_points_are_enough():
    depth, true = plane((0.5, -0.3, -0.8), 2)
    corner = np.zeros(depth.shape, bool)
    corner[[20, 20, 23], [20, 23, 20]] = True  # each is in the stencil of the others
    found, valid = normals_from_depth(np.where(corner, depth, 0), INTRINSICS)
    np.testing.assert_array_equal(valid > 0, corner)
    assert degrees(found[corner[..., 0]].astype(float), true).max() < 1e-3


def test_double_loop():
    rng = np.random.default_rng(1)
    size, offsets = (11, 13), (-9, -6, -3, -1, 0, 1, 3, 6, 9)
    depth = rng.uniform(1.9, 2.1, (*size, 1)) * (rng.random((*size, 1)) > 0.2)
    points = rays(size) * depth
    normal, confidence = local_planes(depth, INTRINSICS)
    for i in range(size[0]):
        for j in range(size[1]):
            z, rows = depth[i, j, 0], []
            for di in offsets:
                for dj in offsets:
                    if 0 <= i + di < size[0] and 0 <= j + dj < size[1]:
                        other = depth[i + di, j + dj, 0]
                        if other > 0 and abs(other - z) < 0.05 * z:
                            rows.append([*points[i + di, j + dj], 1])
            if z == 0 or len(rows) < 3:
                assert confidence[i, j] == 0
                continue
            _, s, v = np.linalg.svd(np.array(rows))
            s = np.append(s, [0] * (4 - len(s)))  # singular values are roots of eigenvalues
            expected = v[3, :3] / np.linalg.norm(v[3, :3])
            expected *= -np.sign(expected @ points[i, j])
            assert degrees(normal[i, j], expected) < 1e-4
            assert confidence[i, j] == pytest.approx(1 - s[3] / s[2], abs=1e-5)


def test_confidence_keeps_the_flat_parts():
    depth, _ = plane((0.5, -0.3, -0.8), 2)
    depth[:, 30:] += np.random.default_rng(0).normal(0, 0.02, depth[:, 30:].shape)
    _, valid = normals_from_depth(depth, INTRINSICS, confidence=0.98)
    assert valid[:, :20].min() == 1
    assert valid[:, 40:].mean() < 0.1

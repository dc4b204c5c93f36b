"""Surface normals of a depth map by fitting a plane around every pixel."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

OFFSETS = (-9, -6, -3, -1, 0, 1, 3, 6, 9)  # pixels; the stencil is this times this
PAIRS = tuple((i, j) for i in range(4) for j in range(i, 4))  # the upper triangle of a 4x4 matrix


def normals_from_depth(
    depth: Float[np.ndarray, "h w 1"],
    intrinsics: Float[np.ndarray, "k=4"],
    *,
    threshold: float = 0.05,
    confidence: float = 0.0,
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 1"]]:
    """(unit normals towards the camera, validity 0 or 1) of a depth map in metres, 0 = no measurement; both float32.

    Camera coordinates are x right, y down, z forward, so a wall faced head-on is (0, 0, -1); normals are zero where
    invalid: no depth there, fewer than three neighbours, no definite plane, or a confidence of `local_planes` not above
    `confidence`. The other arguments are those of `local_planes`.
    """
    normal, trust = local_planes(depth, intrinsics, threshold=threshold)
    valid = (trust > confidence)[..., None]
    return np.where(valid, normal, 0).astype(np.float32), valid.astype(np.float32)


def local_planes(
    depth: Float[np.ndarray, "h w 1"], intrinsics: Float[np.ndarray, "k=4"], *, threshold: float = 0.05
) -> tuple[np.ndarray, np.ndarray]:
    """Plane normals [H, W, 3] and confidences [H, W], float64, 0 where there is no plane.

    Neighbours of a pixel are the measured points on the sparse stencil {-9,-6,-3,-1,0,1,3,6,9}^2 around it (itself
    included) whose depth is within `threshold` times its own. With A the rows [X Y Z 1] of at least three of them, the
    plane is the eigenvector of A'A with the smallest eigenvalue l1 (a homogeneous fit, not the centred one: the two
    agree on exact planes), its normal the first three entries; the confidence is 1 - sqrt(l1 / l2). `intrinsics` is fx,
    fy, cx, cy in pixels, 0-based pixel centres.
    Silberman, Hoiem, Kohli & Fergus, ECCV 2012, the planes of their toolbox; no smoothing afterwards.
    """
    z = np.asarray(depth[..., 0], np.float64)
    height, width = z.shape
    fx, fy, cx, cy = np.asarray(intrinsics, np.float64)
    x, y = (np.arange(width)[None] - cx) / fx * z, (np.arange(height)[:, None] - cy) / fy * z
    points = np.stack([x, y, z, np.ones_like(z)])
    scatter, count = _gather(points, z, threshold)

    found = (z > 0) & (count >= 3)
    matrices = np.empty((np.count_nonzero(found), 4, 4))
    for (i, j), entry in zip(PAIRS, scatter, strict=True):
        matrices[:, i, j] = matrices[:, j, i] = entry[found]
    values, vectors = np.linalg.eigh(matrices)
    plane = vectors[:, :3, 0]
    length = np.linalg.norm(plane, axis=-1)
    seen = points[:3, found].T
    facing = np.sum(plane * seen, axis=-1)
    # Otherwise: points on a line, or a plane that the camera sees edge-on, as it sees any single row or column.
    definite = (values[:, 1] > 1e-12 * values[:, 3]) & (np.abs(facing) > 1e-4 * length * np.linalg.norm(seen, axis=-1))
    plane *= -(np.sign(facing) / np.where(definite, length, 1))[:, None]
    ratio = np.clip(values[:, 0], 0, None) / np.where(definite, values[:, 1], 1)

    normal, confidence = np.zeros((height, width, 3)), np.zeros((height, width))
    normal[found] = np.where(definite[:, None], plane, 0)
    confidence[found] = np.where(definite, 1 - np.sqrt(ratio), 0)
    return normal, confidence


def _gather(points: np.ndarray, z: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """The upper triangles [10, H, W] of A'A of every pixel and the numbers [H, W] of neighbours."""
    margin = max(OFFSETS)
    height, width = z.shape
    products = np.stack([points[i] * points[j] for i, j in PAIRS])
    products = np.pad(products, ((0, 0), (margin, margin), (margin, margin)))
    around = np.pad(z, margin)
    total = np.zeros((len(PAIRS), height, width))
    for dy in OFFSETS:
        for dx in OFFSETS:
            window = (slice(margin + dy, margin + dy + height), slice(margin + dx, margin + dx + width))
            near = (around[window] > 0) & (np.abs(around[window] - z) < threshold * z)
            total += products[(slice(None), *window)] * near[None]
    return total, total[-1]  # the last product is 1 * 1

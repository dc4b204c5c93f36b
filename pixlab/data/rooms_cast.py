"""Ray casting of the procedural rooms: scenes and cameras, what rays meet, what stands in the way.

A scene is a box seen from inside (floor, walls, ceiling) with things in it; a thing is a bunch of boxes that turn
together about the vertical. World: metres, z up, the room spans (0, 0, 0) to `size`. Camera: x right, y down,
z forward. Only operations that IEEE 754 rounds exactly are used, never a long floating-point sum, so that the
result is the same bits on every machine.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from pixlab.data.rooms_texture import Material, Textures

TINY = 1e-12  # directions are never exactly parallel to a face
NEAR = 1e-6  # relative distance at which a ray counts as arrived: microns


class Box(NamedTuple):
    """A box between two corners, in the frame of its thing."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    label: int
    material: Material


@dataclasses.dataclass(frozen=True)
class Thing:
    """Boxes that stand together: world = place + rotation by `turn` = (cosine, sine) about the vertical."""

    boxes: tuple[Box, ...]
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: tuple[float, float] = (1.0, 0.0)

    @functools.cached_property
    def low(self) -> Float[np.ndarray, "p 3"]:
        """Lower corners of the boxes."""
        return np.array([b.low for b in self.boxes], np.float64)

    @functools.cached_property
    def high(self) -> Float[np.ndarray, "p 3"]:
        """Upper corners of the boxes."""
        return np.array([b.high for b in self.boxes], np.float64)

    @functools.cached_property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Corners of the box around all boxes, in the frame of the thing."""
        return tuple(self.low.min(0).tolist()), tuple(self.high.max(0).tolist())


@dataclasses.dataclass(frozen=True)
class Scene:
    """A furnished room: six room faces (x = 0, x = end, y = 0, y = end, floor, ceiling), things, one lamp."""

    size: tuple[float, float, float]
    faces: tuple[tuple[int, Material], ...]  # (label, material) of the six faces
    things: tuple[Thing, ...]
    light: tuple[float, float, float]  # where the point light is
    power: float  # of the point light, relative to the ambient light
    warmth: float  # red over blue of the point light
    fill: tuple[float, float, float]  # horizontal direction from which the ambient light is a little stronger

    @functools.cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """Per surface (six faces, then all boxes in order): label, lower corner, thing; per thing: place and turn."""
        boxes = [(b, i + 1) for i, thing in enumerate(self.things) for b in thing.boxes]
        things = (Thing(()), *self.things)
        return {
            "label": np.array([label for label, _ in self.faces] + [b.label for b, _ in boxes], np.int32),
            "low": np.array([(0, 0, 0)] * 6 + [b.low for b, _ in boxes], np.float64).T,
            "thing": np.array([0] * 6 + [i for _, i in boxes]),
            "place": np.array([t.place for t in things], np.float64).T,
            "turn": np.array([t.turn for t in things], np.float64).T,
        }

    @functools.cached_property
    def textures(self) -> Textures:
        """Materials of all surfaces."""
        return Textures([m for _, m in self.faces] + [b.material for thing in self.things for b in thing.boxes])


class Camera(NamedTuple):
    """Where a picture is taken from. `pose` is camera to world; `intrinsics` fx, fy, cx, cy in 0-based pixels."""

    pose: Float[np.ndarray, "4 4"]
    intrinsics: Float[np.ndarray, " 4"]


class Hits(NamedTuple):
    """What rays met: distance in units of the direction, surface, and the axis and sign of the face's normal."""

    t: Float[np.ndarray, " n"]
    surface: Int[np.ndarray, " n"]
    axis: Int[np.ndarray, " n"]
    sign: Float[np.ndarray, " n"]


def rotate(matrix: Float[np.ndarray, "3 3"], vectors: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
    """matrix x vectors, in a fixed order of operations (BLAS would choose its own)."""
    x, y, z = vectors
    return np.stack([matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] * z for i in range(3)])


def rays(camera: Camera, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, "3 n"]:
    """World directions through pixels (x, y), scaled so that the distance along a ray IS the z-depth."""
    fx, fy, cx, cy = camera.intrinsics
    return rotate(camera.pose[:3, :3], np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)]))


def project(
    camera: Camera, points: Float[np.ndarray, "3 n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Pixel coordinates (x, y) and z-depth of world points."""
    fx, fy, cx, cy = camera.intrinsics
    px, py, pz = rotate(camera.pose[:3, :3].T, points - camera.pose[:3, 3:])
    return px / pz * fx + cx, py / pz * fy + cy, pz


def _squared(v):
    """Squared length of vectors, in a fixed order of operations."""
    x, y, z = v
    return x * x + y * y + z * z


def _slabs(low, high, origin, inverse):
    """Distances at which rays enter and leave boxes (enter > leave: they miss)."""
    enter, leave = -np.inf, np.inf
    for a in range(3):
        first, second = (low[a] - origin[a]) * inverse[a], (high[a] - origin[a]) * inverse[a]
        enter = np.maximum(enter, np.minimum(first, second))
        leave = np.minimum(leave, np.maximum(first, second))
    return enter, leave


def _candidates(thing, origin, direction, squared, limit):
    """The rays that meet the box around `thing` within `limit`: their indices, and in the frame of the thing the
    origin and the inverse directions. `squared` is the squared length of the directions."""
    c, s = thing.turn
    px, py, pz = (float(o) - p for o, p in zip(origin, thing.place, strict=True))
    origin = (c * px + s * py, c * py - s * px, pz)
    # first by the ball around the box, which costs a quarter
    (lx, ly, lz), (hx, hy, hz) = thing.bounds
    mx, my, mz = 0.5 * (lx + hx) - origin[0], 0.5 * (ly + hy) - origin[1], 0.5 * (lz + hz) - origin[2]
    outside = _squared((mx, my, mz)) - 0.251 * _squared((hx - lx, hy - ly, hz - lz))
    if outside > 0:
        dx, dy, dz = direction
        along = (c * mx - s * my) * dx + (s * mx + c * my) * dy + mz * dz
        at = np.flatnonzero(np.maximum(along, 0.0) * along >= outside * squared)
    else:
        at = np.arange(squared.size)
    dx, dy, dz = direction[:, at]
    local = (c * dx + s * dy, c * dy - s * dx, dz)
    inverse = [1.0 / np.where(np.abs(d) < TINY, TINY, d) for d in local]
    enter, leave = _slabs(*thing.bounds, origin, inverse)
    near = np.flatnonzero((enter <= leave) & (leave > 0) & (enter <= limit[at]))
    return at[near], origin, [i[near] for i in inverse]


def _front_to_back(scene, origin):
    """Things with the number of their first surface, those in front first: they spare the others work."""

    def distance(item):
        _, thing = item
        (lx, ly, lz), (hx, hy, hz), (c, s) = *thing.bounds, thing.turn
        mx, my, mz = 0.5 * (lx + hx), 0.5 * (ly + hy), 0.5 * (lz + hz)
        middle = (c * mx - s * my, s * mx + c * my, mz)
        return _squared([float(o) - p - m for o, p, m in zip(origin, thing.place, middle, strict=True)])

    firsts = itertools.accumulate((len(thing.boxes) for thing in scene.things), initial=6)
    return sorted(zip(firsts, scene.things, strict=False), key=distance)


def cast(scene: Scene, origin: Float[np.ndarray, " 3"], direction: Float[np.ndarray, "3 n"]) -> Hits:
    """The first surface that each ray from `origin` meets. The origin must be inside the room, outside every box."""
    safe = np.where(np.abs(direction) < TINY, TINY, direction)
    wall = np.where(safe > 0, np.array(scene.size)[:, None], 0.0)
    to_wall = (wall - origin[:, None]) * (1.0 / safe)
    axis = np.argmin(to_wall, axis=0)
    best = np.min(to_wall, axis=0)
    ahead = np.take_along_axis(safe, axis[None], 0)[0] > 0
    surface = 2 * axis + ahead
    sign = np.where(ahead, -1.0, 1.0)
    squared = _squared(direction)
    for first, thing in _front_to_back(scene, origin):
        at, o, inverse = _candidates(thing, origin, direction, squared, best)
        if at.size:
            low, high = thing.low.T[:, :, None], thing.high.T[:, :, None]
            enter, leave = _slabs(low, high, o, inverse)
            enter = np.where((enter <= leave) & (enter > 0), enter, np.inf)
            box = np.argmin(enter, axis=0)
            t = np.take_along_axis(enter, box[None], 0)[0]
            won = np.flatnonzero(t <= best[at])
            at, box, t = at[won], box[won], t[won]
            inverse = [i[won] for i in inverse]
            # the axis by which the ray entered: the lower face for rays that go up that axis, else the upper one
            faces = [np.where(inverse[a] > 0, thing.low[box, a], thing.high[box, a]) for a in range(3)]
            enters = np.stack([(faces[a] - o[a]) * inverse[a] for a in range(3)])
            best[at], surface[at] = t, first + box
            axis[at] = np.argmax(enters, axis=0)
            sign[at] = np.where(np.take_along_axis(np.stack(inverse), axis[at][None], 0)[0] > 0, -1.0, 1.0)
    return Hits(best, surface, axis, sign)


def blocked(scene: Scene, origin: Float[np.ndarray, " 3"], points: Float[np.ndarray, "3 n"]) -> Bool[np.ndarray, " n"]:
    """Whether something stands between `origin` and each of `points` (which may lie on a surface)."""
    direction = points - origin[:, None]
    limit, squared = np.full(points.shape[1], 1 - NEAR), _squared(direction)
    for thing in scene.things:
        at, o, inverse = _candidates(thing, origin, direction, squared, limit)
        if at.size:
            enter, leave = _slabs(thing.low.T[:, :, None], thing.high.T[:, :, None], o, inverse)
            stopped = np.any((enter <= leave) & (enter > 0) & (enter < 1 - NEAR), axis=0)
            limit[at[stopped]] = -np.inf  # no other thing needs a look
    return limit < 0


def world_normals(scene: Scene, hits: Hits) -> Float[np.ndarray, "3 n"]:
    """Outward unit normals of the faces that were met, in world coordinates."""
    c, s = scene.tables["turn"][:, scene.tables["thing"][hits.surface]]
    x = np.where(hits.axis == 0, c, np.where(hits.axis == 1, -s, 0.0))
    y = np.where(hits.axis == 0, s, np.where(hits.axis == 1, c, 0.0))
    z = np.where(hits.axis == 2, 1.0, 0.0)
    return np.stack([x, y, z]) * hits.sign

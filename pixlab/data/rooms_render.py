"""Pictures of the procedural rooms: exact depth, normals and labels, and light with shadows and dim corners."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pixlab.data.rooms_cast import NEAR, Camera, Hits, Scene, blocked, cast, rays, rotate, world_normals


def _nooks(scene: Scene, points, normal, on_floor):
    """Ambient light that corners of the room and the feet of furniture keep out, as a factor."""
    open_ = np.ones(points.shape[1])
    for a in range(3):
        away = np.minimum(points[a], scene.size[a] - points[a]) * (1 / 0.22)
        open_ *= 1 - 0.3 * (1 - normal[a] * normal[a]) / (1 + away * away)
    floor = np.flatnonzero(on_floor)
    x, y = points[0, floor], points[1, floor]
    for thing in scene.things:
        (lx, ly, lz), (hx, hy, hz) = thing.bounds
        if floor.size and lz + thing.place[2] < 0.3 and hz > 0.02:
            c, s = thing.turn
            px, py = x - thing.place[0], y - thing.place[1]
            u, v = c * px + s * py, c * py - s * px
            du = np.maximum(np.maximum(lx - u, u - hx), 0) * (1 / 0.12)
            dv = np.maximum(np.maximum(ly - v, v - hy), 0) * (1 / 0.12)
            open_[floor] *= 1 - 0.35 / (1 + du * du + dv * dv)
    return open_


def shade(scene: Scene, camera: Camera, hits: Hits, direction: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
    """Linear RGB of what rays from the camera met: diffuse reflection of ambient light and of one lamp with shadows."""
    points = camera.pose[:3, 3:] + hits.t * direction
    normal = world_normals(scene, hits)
    tables = scene.tables
    thing = tables["thing"][hits.surface]
    c, s = tables["turn"][:, thing]
    px, py, pz = points - tables["place"][:, thing]
    lx, ly, lz = np.stack([c * px + s * py, c * py - s * px, pz]) - tables["low"][:, hits.surface]
    u, v = np.where(hits.axis == 0, ly, lx), np.where(hits.axis == 2, ly, lz)
    dx, dy, dz = direction
    facing = np.abs(normal[0] * dx + normal[1] * dy + normal[2] * dz) / np.sqrt(dx * dx + dy * dy + dz * dz)
    footprint = hits.t / camera.intrinsics[0] / np.maximum(facing, 0.2)
    reflect, glow = scene.textures(hits.surface, u, v, footprint)

    light = np.array(scene.light)
    tx, ty, tz = light[:, None] - points
    squared = tx * tx + ty * ty + tz * tz
    lambert = np.maximum(normal[0] * tx + normal[1] * ty + normal[2] * tz, 0) / np.sqrt(squared)
    lit = np.flatnonzero(lambert > 0)
    lamp = np.zeros_like(lambert)
    lamp[lit] = np.where(blocked(scene, light, points[:, lit]), 0.0, lambert[lit])
    lamp = scene.power * lamp / (0.6 + 0.25 * squared)
    fx, fy, _ = scene.fill
    ambient = 0.8 + 0.12 * normal[2] + 0.16 * (fx * normal[0] + fy * normal[1])
    on_floor = (normal[2] > 0.5) & (points[2] < NEAR)
    ambient = 0.5 * ambient * _nooks(scene, points, normal, on_floor)
    tint = np.array([scene.warmth, 1.0, 1.0 / scene.warmth])[:, None]
    return reflect * (ambient + lamp * tint + glow)


def render(scene: Scene, camera: Camera, *, height: int, width: int) -> dict[str, np.ndarray]:
    """Everything that one camera sees: `light` linear RGB [H,W,3], `depth` metres [H,W,1], `normal` unit vectors in
    camera coordinates [H,W,3], `label` [H,W,1], `points` in world metres [3,H*W], `surface` [H,W]; float64.

    Depth, normal and label belong to pixel centres; colours are averaged over three rays where surfaces meet.
    """
    y, x = np.divmod(np.arange(height * width), width)
    x, y = x.astype(np.float64), y.astype(np.float64)
    origin = np.ascontiguousarray(camera.pose[:3, 3])
    direction = rays(camera, x, y)
    hits = cast(scene, origin, direction)
    light = shade(scene, camera, hits, direction)

    face = (hits.surface * 8 + hits.axis * 2 + (hits.sign > 0)).reshape(height, width)
    edge = np.zeros((height, width), bool)
    across, down = face[:, 1:] != face[:, :-1], face[1:] != face[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    at = np.flatnonzero(edge)
    if at.size:
        # two more rays on the slant, so that both upright and level edges get steps of a third
        more = rays(camera, np.concatenate([x[at] - 0.3, x[at] + 0.3]), np.concatenate([y[at] - 0.15, y[at] + 0.15]))
        one, two = np.split(shade(scene, camera, cast(scene, origin, more), more), 2, axis=1)
        light[:, at] = (light[:, at] + (one + two)) * (1 / 3)

    normal = rotate(camera.pose[:3, :3].T, world_normals(scene, hits))
    return {
        "light": light.T.reshape(height, width, 3),
        "depth": hits.t.reshape(height, width, 1),
        "normal": normal.T.reshape(height, width, 3),
        "label": scene.tables["label"][hits.surface].reshape(height, width, 1),
        "points": camera.pose[:3, 3:] + hits.t * direction,
        "surface": hits.surface.reshape(height, width),
    }

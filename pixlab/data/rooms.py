"""`rooms`: procedural furnished rooms with exact depth, normals, labels, stereo and optical flow.

`frame(seed)` is one example, the same bits on every machine: textured rooms with furniture, ray-cast from a known
pose. It is the built-in data set of pixlab (`builders/rooms.py` stores it); nothing needs to be downloaded.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from pixlab.data.rooms_cast import Camera, Scene, blocked, cast, project, rays
from pixlab.data.rooms_draw import Draw
from pixlab.data.rooms_labels import NAMES
from pixlab.data.rooms_render import render
from pixlab.data.rooms_scene import sample_scene, tilt
from pixlab.errors import UserError

LABELS: tuple[str, ...] = tuple(NAMES)  # index = label; 0, "unlabelled", never occurs
BASELINE = 0.12  # metres from the left to the right eye, along the camera's x axis
CLEARANCE = 0.4  # metres between the camera and everything else


def look(
    place: tuple[float, float, float], forward: tuple[float, float, float], roll: float
) -> Float[np.ndarray, "4 4"]:
    """Camera-to-world matrix of a camera at `place` that looks along `forward`; `roll` is the tangent of its roll.

    Columns: x right, y down, z forward, position. `forward` may have any length but must not be vertical.
    """

    def unit(x, y, z):
        length = float(np.sqrt(x * x + y * y + z * z))
        return x / length, y / length, z / length

    fx, fy, fz = unit(*forward)
    rx, ry, rz = unit(fy, -fx, 0.0)  # forward x up
    dx, dy, dz = fy * rz - fz * ry, fz * rx - fx * rz, fx * ry - fy * rx  # forward x right
    rx, ry, rz = unit(rx + roll * dx, ry + roll * dy, rz + roll * dz)
    dx, dy, dz = fy * rz - fz * ry, fz * rx - fx * rz, fx * ry - fy * rx
    x, y, z = place
    return np.array([[rx, dx, fx, x], [ry, dy, fy, y], [rz, dz, fz, z], [0, 0, 0, 1]], np.float64)


def is_free(scene: Scene, place: tuple[float, float, float]) -> bool:
    """Whether a point keeps CLEARANCE from the walls and, along one of their axes, from the boxes around all things."""
    x, y, z = place
    if not all(CLEARANCE <= p <= size - CLEARANCE for p, size in zip(place, scene.size, strict=True)):
        return False
    for thing in scene.things:
        (lx, ly, lz), (hx, hy, hz) = thing.bounds
        (px, py, pz), (c, s) = thing.place, thing.turn
        u, v, w = c * (x - px) + s * (y - py), c * (y - py) - s * (x - px), z - pz
        away = max(lx - u, u - hx, ly - v, v - hy, lz - w, w - hz)
        if away < CLEARANCE:
            return False
    return True


def sample_camera(draw: Draw, scene: Scene, *, height: int, width: int) -> Camera:
    """A camera at eye height in free space, with a view that is neither blocked nor empty.

    The first of up to 60 tries that sees enough (on a grid of 8 x 6 rays), else the best of them. Raises ValueError
    where no free place is found at all.
    """
    fx = width * draw.uniform(0.76, 0.86)
    cx, cy = (width - 1) / 2 + width * draw.uniform(-0.01, 0.01), (height - 1) / 2 + height * draw.uniform(-0.01, 0.01)
    intrinsics = np.array([fx, fx * draw.uniform(0.99, 1.01), cx, cy])
    x, y = np.meshgrid(np.arange(8) * (width / 8), np.arange(6) * (height / 6))
    best, most = None, -1.0
    for attempt in range(5000):
        if attempt >= 60 and best is not None:
            break
        place = (
            draw.uniform(CLEARANCE, scene.size[0] - CLEARANCE),
            draw.uniform(CLEARANCE, scene.size[1] - CLEARANCE),
            draw.uniform(1.0, 1.7),
        )
        target = draw.uniform(0.0, scene.size[0]), draw.uniform(0.0, scene.size[1])
        ahead = target[0] - place[0], target[1] - place[1]
        reach = float(np.sqrt(ahead[0] * ahead[0] + ahead[1] * ahead[1]))
        pitch, roll = draw.uniform(-0.36, 0.06), draw.uniform(-0.05, 0.05)
        if reach < 1.0 or not is_free(scene, place):
            continue
        camera = Camera(look(place, (*ahead, pitch * reach), roll), intrinsics)
        hits = cast(scene, camera.pose[:3, 3].copy(), rays(camera, x.ravel(), y.ravel()))
        furnished = len(set(hits.surface.tolist()))
        far = int(np.count_nonzero(hits.t > 1.5)) + int(np.count_nonzero(hits.t > 2.8))
        score = furnished + 0.5 * far if hits.t.min() > 0.5 else 0.001 * reach
        if score > most:
            best, most = camera, score
        if furnished >= 9 and far >= 56 and hits.t.min() > 0.5:
            return camera
    if best is None:
        raise ValueError("no free place for the camera was found in this room")
    return best


def stepped(draw: Draw, camera: Camera) -> Camera:
    """The camera a moment later: up to 0.22 metres away (so still free: CLEARANCE is more), turned by a few degrees."""
    rx, _, fx, x = camera.pose[0].tolist()
    ry, _, fy, y = camera.pose[1].tolist()
    _, _, fz, z = camera.pose[2].tolist()
    side, up, on = draw.uniform(-0.15, 0.15), draw.uniform(-0.06, 0.06), draw.uniform(-0.15, 0.15)
    c, s = tilt(draw, 0.035)
    place = (x + side * rx + on * fx, y + side * ry + on * fy, z + up)
    forward = (c * fx - s * fy, s * fx + c * fy, fz + draw.uniform(-0.03, 0.03))
    return Camera(look(place, forward, draw.uniform(-0.05, 0.05)), camera.intrinsics)


def expose(light: Float[np.ndarray, "h w 3"], gain: float, draw: Draw, noise: float) -> UInt8[np.ndarray, "h w 3"]:
    """A camera's picture of linear light: gain, square-root tone curve, a little noise, 8 bits."""
    shown = np.sqrt(np.clip(light * gain, 0.0, 1.0)) * 255
    grain = draw.random(light.shape[:2]) + draw.random(light.shape[:2]) - 1
    return np.clip(np.floor(shown + noise * grain[:, :, None] + 0.5), 0, 255).astype(np.uint8)


def gain_for(light: Float[np.ndarray, "h w 3"], target: float) -> float:
    """The gain that brings the mean of the displayed picture near `target` (in [0, 1]); sums integers, so exact."""
    shown = np.floor(np.sqrt(np.clip(light, 0.0, 4.0)) * 1024).astype(np.int64)
    mean = int(shown.sum()) / (1024 * shown.size)
    wanted = target / max(mean, 0.01)
    return wanted * wanted


def disparity_and_flow(
    left: Camera, second: Camera, depth: Float[np.ndarray, "h w 1"]
) -> tuple[Float[np.ndarray, "h w 1"], Float[np.ndarray, "h w 2"]]:
    """What follows from the depth of the left view, in pixels: disparity to the right eye, fx BASELINE / depth
    (left pixel x is right pixel x - disparity), and the flow (x, y) to the second view. Flow is infinite or
    meaningless where a point lies in or behind the plane of the second camera."""
    height, width, _ = depth.shape
    row, column = np.divmod(np.arange(height * width), width)
    points = left.pose[:3, 3:] + depth.ravel() * rays(left, column.astype(np.float64), row.astype(np.float64))
    x, y, _ = project(second, points)
    flow = np.stack([x - column, y - row], axis=-1).reshape(height, width, 2)
    return left.intrinsics[0] * BASELINE / depth, flow


def unseen(
    scene: Scene, camera: Camera, points: Float[np.ndarray, "3 n"], *, height: int, width: int
) -> UInt8[np.ndarray, "h w 1"]:
    """1 for points that a camera does not show: outside its picture, behind it, or behind something."""
    x, y, z = project(camera, points)
    outside = (z <= 0) | (x <= -0.5) | (x >= width - 0.5) | (y <= -0.5) | (y >= height - 0.5)
    hidden = outside | blocked(scene, camera.pose[:3, 3].copy(), points)
    return hidden.reshape(height, width, 1).astype(np.uint8)


def frame(seed: int, *, height: int = 120, width: int = 160) -> dict[str, np.ndarray]:
    """Room number `seed`, seen by a stereo camera at one moment and by its left eye at the next.

    Returns arrays of one example, H x W pixels, 0-based pixel centres, camera x right, y down, z forward:
      image, right, second  uint8 [H,W,3]: the left eye, the right eye `baseline` metres along x, a second moment
      depth float32 [H,W,1]  z-depth of the left eye in metres; everywhere measured
      normal float32 [H,W,3]  unit normals towards the left eye, in its coordinates
      label int32 [H,W,1]  index into LABELS
      intrinsics float32 [4]  fx, fy, cx, cy of all three views
      disparity float32 [H,W,1]  fx * baseline / depth pixels: left pixel x is right pixel x - disparity
      occluded uint8 [H,W,1]  1 where the right view does not show what this left pixel shows
      flow float32 [H,W,2]  (x, y) pixels from image to second
      flow_occluded uint8 [H,W,1]  1 where the second view does not show what this pixel shows
      pose, second_pose float64 [4,4]  camera to world; baseline float32 []  metres
    Raises UserError for a negative seed.
    """
    if seed < 0:
        raise UserError(f"room {seed}: rooms are numbered from 0; give a seed of 0 or more")
    scene, draw = sample_scene(seed), Draw(seed, 1)
    left = sample_camera(draw, scene, height=height, width=width)
    # what is stored as float32 is what the picture is made with
    left = left._replace(intrinsics=left.intrinsics.astype(np.float32).astype(np.float64))
    pose = left.pose.copy()
    pose[:3, 3] += BASELINE * pose[:3, 0]
    right, second = left._replace(pose=pose), stepped(draw, left)
    size = {"height": height, "width": width}
    view = render(scene, left, **size)
    gain, noise = gain_for(view["light"], draw.uniform(0.42, 0.55)), draw.uniform(0.3, 1.2)

    depth, points = view["depth"], view["points"]
    disparity, flow = disparity_and_flow(left, second, depth)
    return {
        "image": expose(view["light"], gain, draw, noise),
        "depth": depth.astype(np.float32),
        "normal": (view["normal"] + 0.0).astype(np.float32),  # + 0.0: no negative zeros
        "label": view["label"],
        "intrinsics": left.intrinsics.astype(np.float32),
        "right": expose(render(scene, right, **size)["light"], gain, draw, noise),
        "disparity": disparity.astype(np.float32),
        "occluded": unseen(scene, right, points, **size),
        "second": expose(render(scene, second, **size)["light"], gain * draw.uniform(0.9, 1.1), draw, noise),
        "flow": flow.astype(np.float32),
        "flow_occluded": unseen(scene, second, points, **size),
        "pose": left.pose,
        "second_pose": second.pose,
        "baseline": np.float32(BASELINE).reshape(()),
    }

"""`figures`: procedural clothed people with exact joints, several in a picture, in front of any background.

A person is a skeleton in space whose joints turn within a body's limits, seen from some side, drawn as shaded capsules
from the farthest to the nearest. One person is asked about: the others, and things that are held in front, are there to
be mistaken for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

JOINTS = (
    "nose", "neck", "head_top",
    "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
)  # fmt: skip
SIDES = {"left": 1.0, "right": -1.0}  # a person's own, along the axis that points to their left
TORSO, HEAD = 0.52, 0.26  # metres, hips to neck and neck to the top of the head
SHOULDER, HIP = 0.19, 0.11  # from the middle
ARM, LEG = (0.29, 0.26), (0.43, 0.42)  # upper and lower
MOST = 3  # people in a picture


class Limb(NamedTuple):
    """A capsule between two points of space, with a radius at each, of one of the person's colours."""

    start: Float[np.ndarray, 3]
    end: Float[np.ndarray, 3]
    radii: tuple[float, float]
    colour: str


def turn(axis: int, degrees: float) -> Float[np.ndarray, "3 3"]:
    """The rotation about a coordinate axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out, (i, j) = np.eye(3), [(axis + 1) % 3, (axis + 2) % 3]
    out[i, i] = out[j, j] = c
    out[i, j], out[j, i] = -s, s
    return out


def skeleton(rng: np.random.Generator) -> dict[str, Float[np.ndarray, 3]]:
    """Places of JOINTS in metres from the middle of the hips: x to the right of the picture, y down, z away.

    Angles are uniform within limits; limbs vary by a tenth in length. A tenth of the people show their back.
    """
    build = rng.uniform(0.93, 1.07)
    facing = turn(1, rng.uniform(-60, 60) + (180 if rng.random() < 0.1 else 0))
    lean = facing @ turn(0, rng.uniform(-5, 25)) @ turn(2, rng.uniform(-15, 15))  # of the upper body
    left, up, ahead = np.eye(3) * np.array([1, -1, -1])  # of a person who faces the picture's viewer
    at = {"neck": lean @ up * TORSO}
    nod = lean @ turn(0, rng.uniform(-15, 20)) @ turn(1, rng.uniform(-45, 45)) @ turn(2, rng.uniform(-15, 15))
    at["head_top"] = at["neck"] + nod @ up * HEAD
    at["nose"] = at["neck"] + nod @ (0.45 * HEAD * up + 0.11 * ahead)
    for side, sign in SIDES.items():
        at[f"{side}_shoulder"] = at["neck"] + lean @ (sign * SHOULDER * left - 0.05 * up)
        raised, forward = rng.choice([rng.uniform(5, 40), rng.uniform(5, 150)]), rng.uniform(-30, 100)
        upper = lean @ turn(0, -forward) @ turn(2, -sign * raised)
        at[f"{side}_elbow"] = at[f"{side}_shoulder"] + upper @ -up * ARM[0] * rng.uniform(0.95, 1.05)
        bent = upper @ turn(1, sign * rng.uniform(-60, 30)) @ turn(0, -rng.uniform(5, 135))
        at[f"{side}_wrist"] = at[f"{side}_elbow"] + bent @ -up * ARM[1] * rng.uniform(0.95, 1.05)
    sits = rng.random() < 0.25
    for side, sign in SIDES.items():
        at[f"{side}_hip"] = facing @ (sign * HIP * left)
        lifted, spread = rng.uniform(60, 95) if sits else rng.uniform(-15, 35), rng.uniform(0, 25)
        thigh = facing @ turn(0, -lifted) @ turn(2, -sign * spread)
        at[f"{side}_knee"] = at[f"{side}_hip"] + thigh @ -up * LEG[0]
        shin = thigh @ turn(0, rng.uniform(50, 100) if sits else rng.uniform(0, 45))
        at[f"{side}_ankle"] = at[f"{side}_knee"] + shin @ -up * LEG[1]
    return {name: build * at[name] for name in JOINTS}


def limbs(at: dict[str, np.ndarray], rng: np.random.Generator) -> list[Limb]:
    """The capsules of a clothed person: trunk, head, hair, limbs, with long or short sleeves and trousers."""
    middle, chin = (at["left_hip"] + at["right_hip"]) / 2, at["neck"] + 0.35 * (at["head_top"] - at["neck"])
    crown = at["neck"] + 0.68 * (at["head_top"] - at["neck"])
    back = crown + 0.35 * (crown - at["nose"]) * [1, 0.3, 1]
    parts = [Limb(at["neck"], chin, (0.05, 0.05), "skin"), Limb(chin, crown, (0.075, 0.095), "skin")]
    parts += [Limb(crown, back, (0.1, 0.09), "hair"), Limb(at["nose"], at["nose"], (0.02, 0.02), "shade")]
    sleeve, leg = ("shirt" if rng.random() < 0.5 else "skin"), ("trousers" if rng.random() < 0.75 else "skin")
    for side in SIDES:
        shoulder, elbow, wrist, hip, knee, ankle = (
            at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        )
        chest = 0.75 * shoulder + 0.25 * at["neck"] + [0, 0.06, 0]
        parts += [Limb(chest, 0.8 * hip + 0.2 * middle, (0.105, 0.1), "shirt")]
        parts += [Limb(shoulder, elbow, (0.06, 0.045), "shirt"), Limb(elbow, wrist, (0.045, 0.032), sleeve)]
        hand = wrist + 0.3 * (wrist - elbow)
        parts += [Limb(wrist, hand, (0.035, 0.04), "skin")]
        parts += [Limb(hip, knee, (0.09, 0.06), "trousers"), Limb(knee, ankle, (0.06, 0.042), leg)]
        parts += [Limb(ankle, ankle + [0, 0.05, -0.08], (0.045, 0.04), "shoes")]
    parts += [Limb(at["neck"] + [0, 0.12, 0], middle, (0.12, 0.12), "shirt")]
    return parts


def colours(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """RGB in [0, 1] of a person's skin, hair and clothes."""
    skin = np.array([0.95, 0.76, 0.62]) * rng.uniform(0.3, 1.0) ** np.array([0.6, 0.9, 1.1])
    cloth = {name: rng.uniform(0.05, 0.95, 3) for name in ("shirt", "trousers", "shoes")}
    return {"skin": skin, "shade": 0.6 * skin, "hair": rng.uniform(0.05, 0.5) * np.array([1, 0.8, 0.6]), **cloth}


def paint(canvas: np.ndarray, limb: Limb, colour: np.ndarray, stripes: float) -> None:
    """Draw a capsule whose points and radii are in pixels: round, darker to its sides, striped along its length."""
    (ax, ay, _), (bx, by, _), (ra, rb) = limb.start, limb.end, limb.radii
    reach = max(ra, rb) + 1
    x0, y0 = (max(0, int(np.floor(min(a, b) - reach))) for a, b in ((ax, bx), (ay, by)))
    x1, y1 = (int(np.ceil(max(a, b) + reach)) + 1 for a, b in ((ax, bx), (ay, by)))
    part = canvas[y0 : max(y1, 0), x0 : max(x1, 0)]
    if not part.size:
        return
    y, x = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]].astype(np.float32)
    dx, dy = bx - ax, by - ay
    along = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    away = np.hypot(x - ax - along * dx, y - ay - along * dy)
    radius = ra + along * (rb - ra)
    cover = np.clip(radius - away + 0.5, 0, 1)[..., None]
    light = 0.55 + 0.45 * np.sqrt(np.clip(1 - (away / radius) ** 2, 0, 1))
    light *= 1 - stripes * (np.sin(along * np.hypot(dx, dy) / max(ra, 1) * 4) > 0)
    part += cover * (light[..., None] * colour - part)


def person(
    canvas: np.ndarray, rng: np.random.Generator, *, scale: float, middle: tuple[float, float]
) -> Float[np.ndarray, "k 2"]:
    """Draw someone of `scale` pixels a metre, hips at `middle` (x, y), on an RGB canvas; returns the joints' places."""
    at = skeleton(rng)
    skins = colours(rng)
    stripes = {"shirt": rng.choice([0, 0, 0.35]), "trousers": rng.choice([0, 0, 0, 0.25])}
    offset = np.array([*middle, 0])
    parts = sorted(limbs(at, rng), key=lambda limb: -(limb.start[2] + limb.end[2]))
    for limb in parts:
        here = Limb(limb.start * scale + offset, limb.end * scale + offset, tuple(scale * r for r in limb.radii), "")
        paint(canvas, here, skins[limb.colour], stripes.get(limb.colour, 0))
    return np.stack([at[name][:2] for name in JOINTS]) * scale + middle


def figure(
    background: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "k 2"]]:
    """(picture, places (x, y) in pixels of the JOINTS of the person asked about): the one in front of a `crowd`."""
    image, everyone = crowd(background, rng)
    return image, everyone[-1]


def crowd(
    background: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "p k 2"]]:
    """(picture, places (x, y) in pixels of the JOINTS of its 1 to MOST people, the one in front last).

    Up to two others stand beside or behind the one in front, whose hips to neck take a third to half of the height; now
    and then a bar hides a part of the scene. Joints may be hidden, and may lie outside the picture.
    """
    h, w = background.shape[:2]
    canvas = background.astype(np.float32) / 255
    scale = h * rng.uniform(0.32, 0.5) / TORSO
    middle = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.6, 0.85)
    everyone = []
    for _ in range(rng.integers(0, MOST)):
        side = rng.choice([-1, 1]) * rng.uniform(0.25, 0.5) * w
        where = dict(scale=scale * rng.uniform(0.7, 1.0), middle=(middle[0] + side, h * rng.uniform(0.6, 0.9)))
        everyone.append(person(canvas, rng, **where))
    everyone.append(person(canvas, rng, scale=scale, middle=middle))
    if rng.random() < 0.3:
        ends = rng.uniform(0, 1, (2, 2)) * [w, h]
        bar = Limb(np.array([*ends[0], 0]), np.array([*ends[1], 0]), (rng.uniform(2, 5) * h / 120,) * 2, "")
        paint(canvas, bar, rng.uniform(0.1, 0.9, 3), 0)
    noisy = canvas + rng.normal(0, 0.012, canvas.shape)
    return (np.clip(noisy, 0, 1) * 255 + 0.5).astype(np.uint8), np.stack(everyone).astype(np.float32)

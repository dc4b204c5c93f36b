"""What is fixed to the walls and the ceiling of the procedural rooms: doors, windows, pictures, a pendant lamp.

Each function gives boxes in the frame of the piece: x along the wall (middle at 0), y out of the wall, z up; metres.
"""

from __future__ import annotations

from pixlab.data.rooms_cast import Box
from pixlab.data.rooms_draw import Draw, paint, shaded, wood
from pixlab.data.rooms_labels import DOOR, LAMP, PICTURES, WINDOW
from pixlab.data.rooms_texture import PICTURE, SKY, Material


def door(draw: Draw) -> list[Box]:
    """A door with its frame, panels and handle; the wall is at the back."""
    w, h, m = draw.uniform(0.75, 0.9), draw.uniform(1.95, 2.1), wood(draw)
    frame = m if draw.chance(0.4) else wood(draw)
    half, y = w / 2, -0.03
    boxes = [
        Box((-half, y, 0.0), (half, y + 0.025, h), DOOR, m),
        Box((-half - 0.08, y, 0.0), (-half, y + 0.05, h + 0.08), DOOR, frame),
        Box((half, y, 0.0), (half + 0.08, y + 0.05, h + 0.08), DOOR, frame),
        Box((-half, y, h), (half, y + 0.05, h + 0.08), DOOR, frame),
    ]
    rows = 1 + draw.below(3)
    dark = m._replace(colour=shaded(m.colour, 0.75))
    for i in range(2):
        for j in range(rows):
            x, z, tall = -half + 0.1 + i * (half - 0.06), 0.15 + j * (h - 0.2) / rows, (h - 0.2) / rows - 0.12
            boxes.append(Box((x, y + 0.025, z), (x + half - 0.14, y + 0.035, z + tall), DOOR, dark))
    return [*boxes, Box((half - 0.08, y + 0.025, 1.0), (half - 0.04, y + 0.06, 1.12), DOOR, paint((0.5, 0.5, 0.45)))]


def window(draw: Draw) -> list[Box]:
    """A window at the height of its middle (z = 0): the view, a frame with bars, a sill; the wall is at the back."""
    w, h = draw.uniform(0.8, 1.7), draw.uniform(0.9, 1.3)
    sky = Material(
        SKY, (0.35, 0.55, 0.9), (0.06, 0.16, 0.04), (w, h), (0.25, 0.12), seed=draw.seed(), glow=draw.uniform(0.5, 1.0)
    )
    frame, t, y = paint(draw.pick([(0.8, 0.8, 0.78), (0.8, 0.8, 0.78), (0.25, 0.13, 0.06)])), 0.06, -0.035
    front = 0.02
    boxes = [
        Box((-w / 2, y, -h / 2), (w / 2, y + 0.01, h / 2), WINDOW, sky),
        Box((-w / 2 - t, y, -h / 2), (-w / 2, front, h / 2), WINDOW, frame),
        Box((w / 2, y, -h / 2), (w / 2 + t, front, h / 2), WINDOW, frame),
        Box((-w / 2 - t, y, h / 2), (w / 2 + t, front, h / 2 + t), WINDOW, frame),
        Box((-w / 2 - t, y, -h / 2 - t), (w / 2 + t, 0.07, -h / 2), WINDOW, frame),
    ]
    bars = draw.below(3)
    for i in range(bars):
        x = w * ((i + 1) / (bars + 1) - 0.5)
        boxes.append(Box((x - 0.02, y + 0.01, -h / 2), (x + 0.02, 0.0, h / 2), WINDOW, frame))
    return boxes


def picture(draw: Draw) -> list[Box]:
    """A framed picture, its middle at z = 0; the wall is at the back."""
    w, h = draw.uniform(0.35, 1.1), draw.uniform(0.3, 0.8)
    strong = {"bright": (0.3, 0.95), "strong": (0.1, 0.75)}
    art = Material(PICTURE, draw.colour(**strong), draw.colour(**strong), (w, h), mottle=0.0, seed=draw.seed())
    frame, t, y = wood(draw), draw.uniform(0.02, 0.06), -0.015
    return [
        Box((-w / 2, y, -h / 2), (w / 2, y + 0.02, h / 2), PICTURES, art),
        Box((-w / 2 - t, y, -h / 2), (-w / 2, -y, h / 2), PICTURES, frame),
        Box((w / 2, y, -h / 2), (w / 2 + t, -y, h / 2), PICTURES, frame),
        Box((-w / 2 - t, y, h / 2), (w / 2 + t, -y, h / 2 + t), PICTURES, frame),
        Box((-w / 2 - t, y, -h / 2 - t), (w / 2 + t, -y, -h / 2), PICTURES, frame),
    ]


def pendant(draw: Draw) -> list[Box]:
    """A lamp that hangs from the ceiling (z = 0): a rod and a shade."""
    drop, half = draw.uniform(0.15, 0.4), draw.uniform(0.1, 0.22)
    shade = paint(draw.pick([(0.8, 0.75, 0.6), (0.85, 0.85, 0.85), (0.6, 0.2, 0.1)]), glow=0.8)
    return [
        Box((-0.01, -0.01, -drop), (0.01, 0.01, 0.0), LAMP, paint((0.1, 0.1, 0.1))),
        Box((-half, -half, -drop - 0.18), (half, half, -drop), LAMP, shade),
    ]

"""Furniture of the procedural rooms: each function gives the boxes of one piece, in the frame of that piece.

Frame: x along the width (middle at 0), y from the back to the front (middle at 0), z up from the floor; metres.
The boxes of a piece touch but never overlap.
"""

from __future__ import annotations

from pixlab.data.rooms_cast import Box
from pixlab.data.rooms_draw import Draw, fabric, paint, shaded, wood
from pixlab.data.rooms_labels import BED, BOOKS, CABINET, CHAIR, LAMP, OBJECT, SHELF, SOFA, TABLE
from pixlab.data.rooms_texture import STRIPES, Material


def _legs(w, d, z, thick, label, material, inset=0.02):
    x, y = w / 2 - inset, d / 2 - inset
    return [
        Box((i, j, 0.0), (i + thick, j + thick, z), label, material) for i in (-x, x - thick) for j in (-y, y - thick)
    ]


def _post(x, y, half_width, half_depth, bottom, top, label, material):
    return Box((x - half_width, y - half_depth, bottom), (x + half_width, y + half_depth, top), label, material)


def clutter(draw: Draw, x0: float, x1: float, y0: float, y1: float, z: float, *, density: float = 0.6) -> list[Box]:
    """Small things in a row on a surface: piles of books, boxes, vases, a screen, a table lamp."""
    boxes, x = [], x0 + draw.uniform(0.02, 0.12)
    while x < x1 - 0.3:
        if draw.chance(density):
            kind = draw.pick(["books", "box", "box", "vase", "screen", "lamp"])
            w = draw.uniform(0.1, 0.24)
            depth = min(draw.uniform(0.1, 0.24), (y1 - y0) * 0.9)
            y = draw.uniform(y0, y1 - depth)
            mid, back = x + w / 2, y + depth / 2
            if kind == "books":
                top = z
                for _ in range(1 + draw.below(4)):
                    cover = paint(draw.colour(bright=(0.3, 0.9), strong=(0.2, 0.9)), seed=draw.seed())
                    thick = draw.uniform(0.015, 0.045)
                    boxes.append(Box((x, y, top), (x + w, y + depth, top + thick), BOOKS, cover))
                    top += thick
            elif kind == "box":
                colour = draw.colour(bright=(0.3, 0.95), strong=(0.1, 0.8))
                boxes.append(Box((x, y, z), (x + w, y + depth, z + draw.uniform(0.06, 0.25)), OBJECT, paint(colour)))
            elif kind == "vase":
                colour, high = draw.colour(bright=(0.3, 0.95), strong=(0.1, 0.8)), z + draw.uniform(0.1, 0.2)
                boxes.append(_post(mid, back, 0.05, 0.05, z, high, OBJECT, paint(colour)))
                green = paint((0.06, 0.2, 0.04), mottle=0.9, seed=draw.seed())
                boxes.append(_post(mid, back, 0.08, 0.05, high, high + 0.15, OBJECT, green))
            elif kind == "screen" and x + 0.5 < x1:
                w, mid = 0.45, x + 0.225
                boxes.append(_post(mid, back, 0.08, 0.05, z, z + 0.07, OBJECT, paint((0.05, 0.05, 0.05))))
                boxes.append(_post(mid, back, 0.225, 0.02, z + 0.07, z + 0.34, OBJECT, paint((0.03, 0.03, 0.03))))
            else:
                top = z + draw.uniform(0.15, 0.3)
                boxes.append(_post(mid, back, 0.02, 0.02, z, top, LAMP, paint((0.4, 0.35, 0.2))))
                shade = paint(draw.pick([(0.8, 0.7, 0.5), (0.8, 0.78, 0.7), (0.7, 0.35, 0.2)]), glow=0.7)
                boxes.append(_post(mid, back, 0.09, 0.09, top, top + 0.16, LAMP, shade))
                w = max(w, 0.2)
            x += w
        x += draw.uniform(0.05, 0.3)
    inside = [b for b in boxes if b.low[0] > x0 and b.high[0] < x1 and b.low[1] > y0 - 0.05 and b.high[1] < y1 + 0.05]
    return inside


def table(draw: Draw) -> list[Box]:
    """A dining table, a desk with drawers or a low table, with small things on top."""
    low = draw.chance(0.3)
    widths, depths, heights = ((0.8, 1.2), (0.5, 0.7), (0.38, 0.48)) if low else ((1.1, 1.8), (0.65, 0.95), (0.7, 0.78))
    w, d, h, m = draw.uniform(*widths), draw.uniform(*depths), draw.uniform(*heights), wood(draw)
    thick = draw.uniform(0.03, 0.05)
    boxes = [Box((-w / 2, -d / 2, h - thick), (w / 2, d / 2, h), TABLE, m)]
    boxes += _legs(w, d, h - thick, draw.uniform(0.04, 0.08), TABLE, m)
    if not low and draw.chance(0.3):
        boxes.append(Box((w / 2 - 0.6, -d / 2 + 0.12, 0.1), (w / 2 - 0.12, d / 2 - 0.1, h - thick), TABLE, m))
    return boxes + clutter(draw, -w / 2 + 0.03, w / 2 - 0.03, -d / 2 + 0.05, d / 2 - 0.05, h, density=0.5)


def chair(draw: Draw) -> list[Box]:
    """A chair with a solid or slatted back."""
    w, d, h, m = draw.uniform(0.4, 0.48), draw.uniform(0.4, 0.48), draw.uniform(0.42, 0.47), wood(draw)
    seat, top, thick = (fabric(draw) if draw.chance(0.5) else m), draw.uniform(0.82, 1.0), 0.04
    boxes = [Box((-w / 2, -d / 2, h - 0.05), (w / 2, d / 2, h), CHAIR, seat)]
    boxes += _legs(w, d, h - 0.05, thick, CHAIR, m, 0.0)
    back = -d / 2 + thick
    if draw.chance(0.5):
        return [*boxes, Box((-w / 2, -d / 2, h), (w / 2, back, top), CHAIR, seat)]
    boxes += [Box((x, -d / 2, h), (x + thick, back, top), CHAIR, m) for x in (-w / 2, w / 2 - thick)]
    for z in (0.55, 0.8):
        z = h + z * (top - h)
        boxes.append(Box((-w / 2 + thick, -d / 2, z), (w / 2 - thick, back, z + 0.07), CHAIR, m))
    return boxes


def sofa(draw: Draw) -> list[Box]:
    """A sofa or an armchair: base, cushions, back and arms."""
    seats, d, m = 1 + draw.below(3), draw.uniform(0.8, 0.95), fabric(draw)
    seat, arm = draw.uniform(0.55, 0.65), draw.uniform(0.12, 0.2)
    w, back, top = seats * seat + 2 * arm, draw.uniform(0.18, 0.25), draw.uniform(0.75, 0.9)
    cushion = m if draw.chance(0.6) else fabric(draw)
    inner = w / 2 - arm
    boxes = [
        Box((-w / 2, -d / 2, 0.08), (-inner, d / 2, 0.6), SOFA, m),
        Box((inner, -d / 2, 0.08), (w / 2, d / 2, 0.6), SOFA, m),
        Box((-inner, -d / 2, 0.08), (inner, -d / 2 + back, top), SOFA, m),
        Box((-inner, -d / 2 + back, 0.08), (inner, d / 2 - 0.03, 0.28), SOFA, m),
        *_legs(w, d, 0.08, 0.05, SOFA, paint((0.05, 0.04, 0.03)), 0.03),
    ]
    for i in range(seats):
        x = -inner + i * seat
        boxes.append(Box((x + 0.008, -d / 2 + back, 0.28), (x + seat - 0.008, d / 2, 0.43), SOFA, cushion))
        if draw.chance(0.3):
            pillow, y = fabric(draw), -d / 2 + back
            boxes.append(Box((x + 0.1, y, 0.43), (x + 0.45, y + 0.12, 0.73), SOFA, pillow))
    return boxes


def bed(draw: Draw) -> list[Box]:
    """A bed with its head at the back: frame, mattress, blanket, pillows, headboard."""
    w, d, m = draw.pick([0.95, 1.45, 1.7]), draw.uniform(2.0, 2.1), wood(draw)
    frame, top = draw.uniform(0.25, 0.35), draw.uniform(0.48, 0.6)
    sheet = paint(draw.colour(bright=(0.8, 0.95), strong=(0.0, 0.15)))
    blanket, head = fabric(draw), -d / 2 + 0.06
    cover = head + draw.uniform(0.5, 0.9)
    boxes = [
        Box((-w / 2, -d / 2, 0.0), (w / 2, head, draw.uniform(0.8, 1.15)), BED, m),
        Box((-w / 2 + 0.02, head, 0.08), (w / 2 - 0.02, d / 2, frame), BED, m),
        Box((-w / 2 + 0.03, head, frame), (w / 2 - 0.03, d / 2 - 0.02, top), BED, sheet),
        Box((-w / 2, cover, top), (w / 2, d / 2, top + 0.05), BED, blanket),
        Box((-w / 2, cover, frame), (-w / 2 + 0.03, d / 2 - 0.02, top), BED, blanket),
        Box((w / 2 - 0.03, cover, frame), (w / 2, d / 2 - 0.02, top), BED, blanket),
    ]
    for i in range(1 if w < 1 else 2):
        middle = 0.0 if w < 1 else (i - 0.5) * w / 2
        boxes.append(Box((middle - 0.3, head + 0.03, top), (middle + 0.3, head + 0.4, top + 0.12), BED, sheet))
    return boxes


def shelf(draw: Draw) -> list[Box]:
    """A bookcase: sides, back, boards, and blocks of books or things in the compartments."""
    w, d, h, m = draw.uniform(0.6, 1.2), draw.uniform(0.26, 0.36), draw.uniform(1.0, 2.1), wood(draw)
    boards, thick = max(3, int(h / 0.36)), 0.025
    boxes = [
        Box((-w / 2, -d / 2, 0.0), (-w / 2 + thick, d / 2, h), SHELF, m),
        Box((w / 2 - thick, -d / 2, 0.0), (w / 2, d / 2, h), SHELF, m),
        Box((-w / 2 + thick, -d / 2, 0.0), (w / 2 - thick, -d / 2 + 0.015, h), SHELF, m),
    ]
    left, right, back = -w / 2 + thick, w / 2 - thick, -d / 2 + 0.015
    room = (h - 0.06 - thick) / boards
    for i in range(boards + 1):
        z = 0.06 + i * room
        boxes.append(Box((left, back, z), (right, d / 2 - 0.005, z + thick), SHELF, m))
        x, end = left + draw.uniform(0.0, 0.1), draw.uniform(left + 0.3, right)
        while i < boards and x < end - 0.03:
            step = min(draw.uniform(0.025, 0.14), end - x)
            if draw.chance(0.85):
                colour = draw.colour(bright=(0.2, 0.9), strong=(0.1, 0.9))
                tall = (room - thick) * draw.uniform(0.6, 0.92)
                label, spines = draw.pick([(BOOKS, 0.03), (BOOKS, 0.045), (OBJECT, 10.0)])
                material = Material(STRIPES, colour, shaded(colour, 0.5), (spines, 1.0), mottle=0.2, seed=draw.seed())
                low = (x, back, z + thick)
                boxes.append(Box(low, (x + step, d / 2 - draw.uniform(0.02, 0.1), z + thick + tall), label, material))
            x += step
    return boxes


def cabinet(draw: Draw) -> list[Box]:
    """A wardrobe, a chest of drawers or a sideboard: body, fronts, handles; small things on a low one."""
    kind = draw.pick(["wardrobe", "drawers", "sideboard", "sideboard"])
    w = draw.uniform(*{"wardrobe": (0.9, 1.6), "drawers": (0.5, 0.9), "sideboard": (1.0, 1.7)}[kind])
    h = draw.uniform(*{"wardrobe": (1.7, 2.1), "drawers": (0.7, 1.1), "sideboard": (0.5, 0.9)}[kind])
    d, m = (0.58 if kind == "wardrobe" else draw.uniform(0.38, 0.48)), wood(draw)
    front = m if draw.chance(0.6) else wood(draw)
    columns, rows = {"wardrobe": (2, 1), "drawers": (1, 3 + draw.below(2)), "sideboard": (2 + draw.below(2), 1)}[kind]
    face = d / 2 - 0.04
    boxes = [Box((-w / 2, -d / 2, 0.0), (w / 2, face, h), CABINET, m)]
    handle = paint(draw.pick([(0.6, 0.6, 0.6), (0.1, 0.1, 0.1), (0.5, 0.4, 0.15)]))
    cw, ch = w / columns, (h - 0.08) / rows
    for i in range(columns):
        for j in range(rows):
            x, z = -w / 2 + i * cw, 0.06 + j * ch
            boxes.append(Box((x + 0.01, face, z + 0.01), (x + cw - 0.01, face + 0.02, z + ch - 0.01), CABINET, front))
            tall = rows == 1
            mx, mz = x + (0.06 if i % 2 else cw - 0.08 if tall else cw / 2), z + ch / 2
            hw, hh = (0.01, 0.08) if tall else (0.08, 0.01)
            low, high = (mx - hw, face + 0.02, mz - hh), (mx + hw, d / 2, mz + hh)
            boxes.append(Box(low, high, CABINET, handle))
    if h < 1.2:
        boxes += clutter(draw, -w / 2 + 0.03, w / 2 - 0.03, -d / 2 + 0.06, face - 0.06, h)
    return boxes


def floor_lamp(draw: Draw) -> list[Box]:
    """A standing lamp."""
    h, metal = draw.uniform(1.3, 1.6), paint(draw.pick([(0.05,) * 3, (0.5, 0.45, 0.3), (0.6,) * 3]))
    shade = paint(draw.pick([(0.8, 0.7, 0.5), (0.85, 0.8, 0.7), (0.7, 0.4, 0.25)]), glow=0.8)
    return [
        Box((-0.14, -0.14, 0.0), (0.14, 0.14, 0.03), LAMP, metal),
        Box((-0.02, -0.02, 0.03), (0.02, 0.02, h), LAMP, metal),
        Box((-0.18, -0.18, h), (0.18, 0.18, h + 0.3), LAMP, shade),
    ]


def crate(draw: Draw) -> list[Box]:
    """A box, a stool, or a plant in a pot, on the floor."""
    w, d, h = draw.uniform(0.25, 0.5), draw.uniform(0.25, 0.5), draw.uniform(0.2, 0.5)
    colour = draw.colour(bright=(0.3, 0.8), strong=(0.1, 0.8))
    boxes = [Box((-w / 2, -d / 2, 0.0), (w / 2, d / 2, h), OBJECT, paint(colour, mottle=0.25, seed=draw.seed()))]
    if draw.chance(0.4):
        z = h
        for _ in range(3 + draw.below(3)):
            r, tall = draw.uniform(0.1, w / 2), draw.uniform(0.08, 0.25)
            leaf = paint((0.05, draw.uniform(0.12, 0.3), 0.04), mottle=0.9, seed=draw.seed())
            x, y = draw.uniform(-0.05, 0.05), draw.uniform(-0.05, 0.05)
            boxes.append(Box((x - r, y - r, z), (x + r, y + r, z + tall), OBJECT, leaf))
            z += tall
    return boxes

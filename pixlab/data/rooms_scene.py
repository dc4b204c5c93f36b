"""Chance furnishes a room: its size, its walls, what stands where, the lamp."""

from __future__ import annotations

from pixlab.data import rooms_fixtures as fixtures
from pixlab.data import rooms_furniture as furniture
from pixlab.data.rooms_cast import Box, Scene, Thing
from pixlab.data.rooms_draw import WOODS, Draw, fabric, paint, shaded
from pixlab.data.rooms_labels import CEILING, FLOOR, RUG, WALL
from pixlab.data.rooms_texture import BRICK, DOTS, PLAIN, PLANKS, STRIPES, TILES, Material

GAP = 0.02  # metres kept between things
WALLS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))  # turn of what stands with its back to each wall
AGAINST_WALLS = (
    furniture.shelf, furniture.shelf, furniture.cabinet, furniture.cabinet, furniture.sofa, furniture.sofa,
    furniture.bed, furniture.table, furniture.floor_lamp, furniture.crate, furniture.chair,
)  # fmt: skip


def footprint(thing: Thing) -> list[tuple[float, float]]:
    """The four corners on the floor of the box around a thing, in world coordinates."""
    (lx, ly, _), (hx, hy, _) = thing.bounds
    (px, py, _), (c, s) = thing.place, thing.turn
    return [(px + c * x - s * y, py + s * x + c * y) for x, y in ((lx, ly), (hx, ly), (hx, hy), (lx, hy))]


def overlap(a: Thing, b: Thing, gap: float = GAP) -> bool:
    """Whether the upright boxes around two things come closer than `gap` (separating axes of their footprints)."""
    bottom = max(a.place[2] + a.bounds[0][2], b.place[2] + b.bounds[0][2])
    if bottom > min(a.place[2] + a.bounds[1][2], b.place[2] + b.bounds[1][2]) + gap:
        return False
    first, second = footprint(a), footprint(b)
    for c, s in (a.turn, b.turn):
        for x, y in ((c, s), (-s, c)):
            p, q = [x * i + y * j for i, j in first], [x * i + y * j for i, j in second]
            if min(p) > max(q) + gap or min(q) > max(p) + gap:
                return False
    return True


def inside(thing: Thing, size: tuple[float, float, float]) -> bool:
    """Whether a thing stays within the walls."""
    return all(-1e-9 <= x <= size[0] + 1e-9 and -1e-9 <= y <= size[1] + 1e-9 for x, y in footprint(thing))


def against_wall(draw: Draw, boxes: list[Box], size, wall: int, z: float, gap: float) -> Thing:
    """The boxes with their back to a wall, anywhere along it."""
    width, depth = size[wall % 2], size[1 - wall % 2]
    thing = Thing(tuple(boxes))
    (lx, ly, _), (hx, _, _) = thing.bounds
    along = draw.uniform(-lx, max(width - hx, -lx + 1e-6))
    out = gap - ly
    x, y = ((along, out), (depth - out, along), (width - along, depth - out), (out, width - along))[wall]
    return Thing(tuple(boxes), (x, y, z), WALLS[wall])


def wall_material(draw: Draw) -> Material:
    """Paint, wallpaper, brick or tiles."""
    base = draw.colour(bright=(0.55, 0.95), strong=(0.03, 0.35))
    other = draw.pick([shaded(base, draw.uniform(0.55, 0.85)), draw.colour(bright=(0.6, 0.95), strong=(0.05, 0.4))])
    kind, seed = draw.pick([PLAIN, PLAIN, PLAIN, STRIPES, STRIPES, BRICK, TILES, DOTS, PLANKS]), draw.seed()
    if kind == BRICK:
        colour = draw.pick([(0.42, 0.16, 0.09), (0.5, 0.3, 0.2), (0.7, 0.66, 0.6), (0.3, 0.14, 0.1)])
        mortar = (0.55, 0.52, 0.48)
        return Material(kind, colour, mortar, (0.225, 0.075), (0.05, 0.05), 0.3, vary=0.25, gap=0.006, seed=seed)
    if kind == TILES:
        side = draw.uniform(0.12, 0.3)
        vary = draw.uniform(0.03, 0.15)
        return Material(kind, base, shaded(base, 0.6), (side, side), (0.3, 0.3), 0.1, vary=vary, seed=seed)
    if kind == PLANKS:
        cell = (draw.uniform(0.09, 0.15), 9.0)  # upright boards, longer than any room is high
        return Material(kind, base, shaded(base, 0.4), cell, (0.03, 0.5), 0.2, vary=0.08, seed=seed)
    cell = draw.uniform(0.1, 0.35)
    return Material(kind, base, other, (cell, cell), (0.35, 0.35), draw.uniform(0.08, 0.2), seed=seed)


def floor_material(draw: Draw) -> Material:
    """Boards, tiles or carpet."""
    kind, seed = draw.pick([PLANKS, PLANKS, TILES, PLAIN]), draw.seed()
    if kind == PLANKS:
        colour = shaded(draw.pick(WOODS), draw.uniform(0.8, 1.2))
        cell, grain = (draw.uniform(0.9, 1.5), draw.uniform(0.08, 0.18)), (0.4, 0.025)
        return Material(kind, colour, shaded(colour, 0.3), cell, grain, 0.4, vary=0.22, gap=0.002, seed=seed)
    if kind == TILES:
        side, colour = draw.uniform(0.2, 0.5), draw.colour(bright=(0.5, 0.9), strong=(0.0, 0.25))
        vary = draw.pick([0.05, 0.12, 0.6])
        return Material(kind, colour, shaded(colour, 0.5), (side, side), (0.25, 0.25), 0.2, vary=vary, seed=seed)
    colour = draw.colour(bright=(0.3, 0.75), strong=(0.05, 0.4))
    return Material(kind, colour, colour, grain=(0.06, 0.06), mottle=0.4, seed=seed)


def sample_scene(seed: int) -> Scene:
    """The room number `seed`: any two seeds give rooms that were drawn independently."""
    draw = Draw(seed, 0)
    size = (draw.uniform(3.0, 7.2), draw.uniform(3.0, 6.0), draw.uniform(2.4, 2.9))
    paper = wall_material(draw)
    accent = wall_material(draw) if draw.chance(0.4) else paper
    walls = [accent if i == draw.below(4) else paper for i in range(4)]
    white = draw.colour(bright=(0.85, 0.97), strong=(0.0, 0.06))
    faces = [(WALL, m) for m in walls] + [(FLOOR, floor_material(draw))]
    top = Material(PLAIN, white, white, grain=(0.5, 0.5), mottle=0.08, seed=draw.seed())
    faces.append((CEILING, top))

    things: list[Thing] = []
    reserved: list[Thing] = []  # where nothing may stand

    def put(thing: Thing) -> bool:
        fits = inside(thing, size) and not any(overlap(thing, other) for other in (*things, *reserved))
        if fits:
            things.append(thing)
        return fits

    # a pendant from the ceiling, with the light just below it; or light from somewhere near the ceiling
    x, y = size[0] * draw.uniform(0.35, 0.65), size[1] * draw.uniform(0.35, 0.65)
    light = (x, y, size[2] - 0.08)
    if draw.chance(0.6):
        lamp = Thing(tuple(fixtures.pendant(draw)), (x, y, size[2]))
        things.append(lamp)
        light = (x, y, size[2] + lamp.bounds[0][2] - 0.05)

    for _ in range(1 + draw.below(2)):
        thing = against_wall(draw, fixtures.door(draw), size, draw.below(4), 0.0, 0.0)
        if put(thing):  # keep the way to the door free
            (lx, ly, lz), (hx, _, hz) = thing.bounds
            clear = Box((lx, ly, lz), (hx, 0.6, hz), 0, paint((0.0, 0.0, 0.0)))
            reserved.append(Thing((clear,), thing.place, thing.turn))
    for _ in range(1 + draw.below(3)):
        put(against_wall(draw, fixtures.window(draw), size, draw.below(4), draw.uniform(1.45, 1.6), 0.0))

    for _ in range(4 + draw.below(5) + int(size[0] * size[1] / 8)):
        boxes = draw.pick(AGAINST_WALLS)(draw)
        for _ in range(5):
            if put(against_wall(draw, boxes, size, draw.below(4), 0.0, draw.uniform(0.0, 0.06))):
                break
    if draw.chance(0.8):  # a table in the middle with chairs around, each turned to it, a little carelessly
        boxes, chairs = furniture.table(draw), furniture.chair(draw)
        for _ in range(5):
            c, s = tilt(draw, 0.25)
            place = (size[0] * draw.uniform(0.25, 0.75), size[1] * draw.uniform(0.25, 0.75), 0.0)
            middle = Thing(tuple(boxes), place, (c, s))
            if put(middle):
                seat_around(draw, middle, chairs, put)
                break
    for _ in range(1 + draw.below(3)):
        turn = tilt(draw, 0.9)
        place = (size[0] * draw.uniform(0.1, 0.9), size[1] * draw.uniform(0.1, 0.9), 0.0)
        put(Thing(tuple(draw.pick([furniture.crate, furniture.crate, furniture.chair])(draw)), place, turn))
    for _ in range(1 + draw.below(5)):
        put(against_wall(draw, fixtures.picture(draw), size, draw.below(4), draw.uniform(1.4, 1.75), 0.0))
    if draw.chance(0.5):  # a rug is a part of the floor: it has no thickness, things stand on it
        half = (draw.uniform(0.6, 1.2), draw.uniform(0.5, 0.9))
        rug = Box((-half[0], -half[1], 0.0), (half[0], half[1], 0.0), RUG, fabric(draw))
        place = (size[0] * draw.uniform(0.35, 0.65), size[1] * draw.uniform(0.35, 0.65), 0.0)
        thing = Thing((rug,), place, tilt(draw, 0.2))
        if inside(thing, size):
            things.append(thing)
    power, warmth, (c, s) = draw.uniform(0.5, 1.3), draw.uniform(1.0, 1.12), tilt(draw, 1.0)
    return Scene(size, tuple(faces), tuple(things), light, power, warmth, (*draw.pick([(c, s), (-c, s)]), 0.0))


def tilt(draw: Draw, most: float) -> tuple[float, float]:
    """Cosine and sine of a random angle, whose half has a tangent of at most `most`: (1 - t^2, 2t) / (1 + t^2)."""
    t = draw.uniform(-most, most)
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def seat_around(draw: Draw, table: Thing, chair: list[Box], put) -> None:
    """Chairs on the long sides of a table, facing it."""
    (lx, _, _), (hx, hy, _) = table.boxes[0].low, table.boxes[0].high
    depth = Thing(tuple(chair)).bounds[1][1]
    c, s = table.turn
    for side in (-1.0, 1.0):
        for x in (0.6 * lx, 0.6 * hx):
            if draw.chance(0.7):
                away = draw.uniform(0.03, 0.3)
                y = side * (hy + depth + away)
                tc, ts = tilt(draw, 0.08)
                # a chair faces its own +y: towards the table from its -y side, turned round on the other
                turn = (-side * tc, -side * ts)
                place = (table.place[0] + c * x - s * y, table.place[1] + s * x + c * y, 0.0)
                put(Thing(tuple(chair), place, (c * turn[0] - s * turn[1], s * turn[0] + c * turn[1])))

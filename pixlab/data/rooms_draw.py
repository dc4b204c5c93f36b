"""Random choices of the procedural rooms, and the materials that are chosen: wood, cloth, paint."""

from __future__ import annotations

import numpy as np

from pixlab.data.rooms_texture import DOTS, PLAIN, STRIPES, Colour, Material


class Draw:
    """Random choices made of uniform doubles only, whose stream numpy keeps the same on every machine and version."""

    def __init__(self, *seed: int):
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.random()

    def below(self, n: int) -> int:
        """An integer in 0 ... n - 1."""
        return int(self.random() * n)

    def pick(self, options):
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.random() < p

    def seed(self) -> int:
        """A seed for a texture."""
        return self.below(1 << 32)

    def colour(self, *, bright: tuple[float, float], strong: tuple[float, float]) -> Colour:
        """A colour of any hue, as linear reflectance; `bright` and `strong` bound value and saturation as displayed."""
        value, saturation, hue = self.uniform(*bright), self.uniform(*strong), 6 * self.random()
        red = min(max(abs(hue - 3) - 1, 0.0), 1.0)
        green = min(max(2 - abs(hue - 2), 0.0), 1.0)
        blue = min(max(2 - abs(hue - 4), 0.0), 1.0)
        shown = [value * (1 - saturation * (1 - c)) for c in (red, green, blue)]
        return shown[0] * shown[0], shown[1] * shown[1], shown[2] * shown[2]


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour, darker or lighter."""
    return min(colour[0] * factor, 1.0), min(colour[1] * factor, 1.0), min(colour[2] * factor, 1.0)


WOODS: tuple[Colour, ...] = (
    (0.44, 0.26, 0.12), (0.27, 0.14, 0.06), (0.56, 0.38, 0.20), (0.15, 0.08, 0.045), (0.62, 0.49, 0.32),
    (0.38, 0.17, 0.09),
)  # fmt: skip


def wood(draw: Draw) -> Material:
    """Grained wood, or the same board painted white, black or in a colour."""
    if draw.chance(0.3):
        colour = draw.pick([(0.8, 0.8, 0.78), (0.05, 0.05, 0.05), draw.colour(bright=(0.4, 0.9), strong=(0.2, 0.6))])
        return Material(PLAIN, colour, colour, grain=(0.2, 0.2), mottle=0.06, seed=draw.seed())
    colour = shaded(draw.pick(WOODS), draw.uniform(0.8, 1.2))
    return Material(PLAIN, colour, colour, grain=draw.pick([(0.5, 0.03), (0.03, 0.5)]), mottle=0.45, seed=draw.seed())


def fabric(draw: Draw) -> Material:
    """Cloth of any colour; sometimes striped or dotted."""
    colour = draw.colour(bright=(0.25, 0.9), strong=(0.05, 0.7))
    second = draw.colour(bright=(0.3, 0.95), strong=(0.05, 0.7))
    kind = draw.pick([PLAIN, PLAIN, PLAIN, STRIPES, DOTS])
    cell = draw.uniform(0.06, 0.2)
    return Material(kind, colour, second, (cell, cell), (0.05, 0.05), mottle=0.25, seed=draw.seed())


def paint(colour: Colour, *, glow: float = 0.0, mottle: float = 0.08, seed: int = 0) -> Material:
    """One colour, hardly mottled."""
    return Material(PLAIN, colour, colour, grain=(0.06, 0.06), mottle=mottle, glow=glow, seed=seed)

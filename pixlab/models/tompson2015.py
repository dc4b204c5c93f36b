"""The cascade of Tompson, Goroshin, Jain, LeCun & Bregler, CVPR 2015 (arXiv 1411.4280).

A coarse model pools much and finds each joint to a cell; a fine one finds it to a pixel in a window around that cell,
cut from what the coarse model's first two layers saw. Pooled 4, 8 or 16 times in all:

    bank:    LCN, 5x5 convolution, ReLU, 2x2 max-pool, 5x5 convolution, ReLU, 2x2 max-pool, 5x5 convolution, ReLU,
             1x1, 2x2 or 4x4 max-pool, 9x9 convolution without activation      (128, 128, 128, 512 maps; zeros around)
    coarse:  the banks' sum, ReLU, SpatialDropout, 1x1 to 512, ReLU, 1x1 to 256, ReLU, 1x1 to the joints, linear
    fine:    windows of both layers of each bank, a 5x5 convolution for each, brought to one cell for each pixel;
             their sum, ReLU, (5x5 convolution, ReLU) three times (128 maps), a 1x1 convolution of each joint's own

Layer widths are not published in full, nor which layers the pools follow: the banks are those of 2014, seven stages of
which the last four are the fully connected part, as remembered of the paper. What the knob changes comes after the
first two layers, which are the same for all: the lecture says that they dominate the time of 16x, and its times of
140.0, 74.9 and 54.7 ms are near 53 + 87 / 4^n.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pixlab.models.tompson import HE, LAST, Bank, half
from pixlab.nn.conv import Conv
from pixlab.nn.crop import crop
from pixlab.nn.dropout import SpatialDropout
from pixlab.nn.lcn import local_contrast_normalise
from pixlab.nn.peaks import Finer, peaks
from pixlab.nn.upsample import nearest_upsample

POOLS = (4, 8, 16)


class Coarse(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> heat-maps [b, h / pool, w / pool, joints], rounded up, and what the first two
    layers of each bank saw, [b, h / s, w / s, width] for s in `strides(banks)`, where s divides; see `pyramid`.

    Raises ValueError for a pool that is not among POOLS.
    """

    joints: int
    banks: int = 3
    width: int = 128
    pool: int = 4
    rate: float = 0.5

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], train: bool = False
    ) -> tuple[Float[Array, "b h2 w2 k"], tuple[Float[Array, "b _ _ c"], ...]]:
        if self.pool not in POOLS:
            raise ValueError(f"pool is {self.pool}; there are {POOLS}")
        h, w = cells_of(image.shape[1:3], self.pool)
        total, features = 0.0, []
        for level, x in enumerate(pyramid(image, self.banks, self.pool)):
            bank = Bank(self.width, (2, 2, self.pool // 4), "SAME", name=f"bank{level}")
            first, second = bank.early(x)
            features += [first, second]
            total = total + nearest_upsample(bank.late(second), 2**level)[:, :h, :w]
        x = SpatialDropout(self.rate, deterministic=not train)(nn.relu(total))
        x = nn.relu(Conv(4 * self.width, (1, 1), kernel_init=HE, name="fc2")(x))
        x = nn.relu(Conv(2 * self.width, (1, 1), kernel_init=HE, name="fc3")(x))
        return Conv(self.joints, (1, 1), kernel_init=LAST, name="fc4")(x), tuple(features)


class Fine(nn.Module):
    """Windows [b, k, window / s, window / s, c] around k joints, s in `strides(banks)` -> heat-maps [b, window, window,
    k], a cell for each pixel: one network for all joints but for its last layer.

    With `own` the windows are the RGB pyramid's ([b, k, window / 2^level, window / 2^level, 3]) and go through two
    layers of its own first, which are like the coarse model's: a standard cascade.
    """

    joints: int
    window: int = 40
    width: int = 128
    own: bool = False

    @nn.compact
    def __call__(self, *windows: Float[Array, "b k _ _ _"], train: bool = False) -> Float[Array, "b n n k"]:
        b, k = windows[0].shape[:2]
        seen = [x.reshape(b * k, *x.shape[2:]) for x in windows]
        if self.own:
            banks = [Bank(self.width, padding="SAME", name=f"bank{level}") for level in range(len(seen))]
            seen = [layer for bank, x in zip(banks, seen, strict=True) for layer in bank.early(x)]
        total = 0.0
        for index, x in enumerate(seen):
            x = Conv(self.width, (5, 5), kernel_init=HE, name=f"conv1_{index}")(x)
            total = total + nearest_upsample(x, self.window // x.shape[1])
        x = nn.relu(total)
        for index in (2, 3, 4):
            x = nn.relu(Conv(self.width, (5, 5), kernel_init=HE, name=f"conv{index}")(x))
        x = x.reshape(b, k, *x.shape[1:])
        kernel = self.param("kernel", LAST, (self.joints, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.joints,))
        return jnp.einsum("bkhwc,kc->bhwk", x, kernel) + bias[None, None, None]


def cells_of(size: tuple[int, ...], pool: int) -> tuple[int, int]:
    """Rows and columns of the coarse map of an image of `size`."""
    return -(-size[0] // pool), -(-size[1] // pool)


def strides(banks: int, own: bool = False) -> tuple[int, ...]:
    """Pixels from one cell to the next in each of the maps that windows are cut from; see `Coarse` and `Fine`."""
    return tuple(2 ** (bank + layer) for bank in range(banks) for layer in ((0,) if own else (0, 1)))


def pyramid(image: Float[Array, "b h w c"], banks: int, pool: int = 1) -> tuple[Float[Array, "b _ _ c"], ...]:
    """The image at sizes 1, 1/2, 1/4, ..., each contrast-normalised by itself, with zeros below and to the right until
    each covers the same whole number of its cells of `pool` pixels as the largest one.

    A Gaussian pyramid: halving weighs 4x4 pixels by (1, 3, 3, 1) / 8 each way, so that pixels of all sizes lie as if
    the image were cut into them.
    """
    count, levels = cells_of(image.shape[1:3], pool), []
    for level in range(banks):
        if level:
            image = half(smooth(image), 1)
        x = local_contrast_normalise(image)
        after = [pool * -(-n // 2**level) - have for n, have in zip(count, x.shape[1:3], strict=True)]
        levels.append(jnp.pad(x, ((0, 0), *((0, a) for a in after), (0, 0))))
    return tuple(levels)


def smooth(image: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Weighted by (1, 2, 1) / 4 each way; the border's pixels are repeated."""
    for axis in (1, 2):
        n = image.shape[axis]
        x = jnp.pad(image, [(1, 1) if a == axis else (0, 0) for a in range(4)], mode="edge")
        before, same, after = (jnp.take(x, jnp.arange(n) + i, axis) for i in range(3))
        image = (before + 2 * same + after) / 4
    return image


def corners(places: Float[Array, "b k 2"], window: int, grid: int) -> Int[Array, "b k 2"]:
    """Top left pixels (x, y) of windows whose middles are as near to places in pixels as multiples of `grid` allow.

    On a grid of the coarsest cells, 2^banks pixels, the windows of all maps show the same part of the image.
    """
    return grid * jnp.floor((places - (window - 1) / 2) / grid + 0.5).astype(jnp.int32)


def windows(
    maps: tuple[Float[Array, "b _ _ _"], ...], corner: Int[Array, "b k 2"], window: int, stride: tuple[int, ...]
) -> tuple[Float[Array, "b k _ _ _"], ...]:
    """The part of each map that `window` pixels from `corner` cover; both must be multiples of every stride."""
    return tuple(crop(x, corner // s, window // s) for x, s in zip(maps, stride, strict=True))


def refine(
    corner: Int[Array, "b k 2"], fine: Float[Array, "b n n k"], finer: Finer = "none"
) -> tuple[Float[Array, "b k 2"], Float[Array, "b k"]]:
    """((x, y) in pixels of the image, value) of each fine map's peak."""
    places, value = peaks(fine, finer)
    return corner + places, value

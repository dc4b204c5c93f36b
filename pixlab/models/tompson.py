"""The part detector of Tompson, Jain, LeCun & Bregler, NIPS 2014 (arXiv 1406.2984).

Every cell of 4x4 pixels is answered by a network that sees the 64x64 pixels around it and, in banks of their own,
the 128x128 and 256x256 pixels around it at a half and a quarter of the resolution. Run over the whole image:

    bank:  LCN, 30 zeros around, (5x5 convolution, ReLU, 2x2 max-pool) twice, 5x5 convolution, ReLU,
           9x9 convolution without activation                       (128, 128, 128, 512 maps; nothing padded)
    then:  the banks' sum, ReLU, 1x1 to 256, ReLU, 1x1 to the joints, linear

Figure 4 of the paper disagrees with its own sizes. Heat-maps of 90x60 come from images of 360x240 (it says 320x240),
and its last two "9x9" layers leave the size as it is: here they are 1x1, which a fully connected layer becomes. The
ReLU comes after the banks' sum, as the fully connected layer on joined banks has it (the figure: before).
"""

from __future__ import annotations

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.lcn import local_contrast_normalise
from pixlab.nn.pool import max_pool
from pixlab.nn.upsample import nearest_upsample

CELL, WINDOW = 4, 64  # pixels of a bank from one answer to the next, and that one answer sees
HE = nn.initializers.he_normal()
LAST = nn.initializers.normal(0.002)  # next to nothing: else the first steps go into undoing the maps
BEFORE = 30  # rows that the first answer sees above the image: its window's middle is the middle of the first cell


class Bank(nn.Module):
    """Image [b, h, w, 3] -> [b, (h - 64) / 4 + 1, (w - 64) / 4 + 1, 4 width]: what one resolution adds to the sum.

    The model of 2015 pads with zeros ("SAME": [b, h / 4, w / 4, 4 width]), pools after the third layer too and looks at
    the first two again.
    """

    width: int = 128
    pools: tuple[int, int, int] = (2, 2, 1)
    padding: Literal["VALID", "SAME"] = "VALID"

    def setup(self):
        layer = functools.partial(Conv, self.width, (5, 5), padding=self.padding, kernel_init=HE)
        self.conv1, self.conv2, self.conv3 = layer(), layer(), layer()
        self.fc1 = Conv(4 * self.width, (9, 9), padding=self.padding, kernel_init=HE)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        return self.late(self.early(x)[1])

    def early(self, x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h2 w2 c2"], Float[Array, "b h3 w3 c2"]]:
        """What the first two layers give, each before its pool."""
        first = nn.relu(self.conv1(x))
        return first, nn.relu(self.conv2(max_pool(first, self.pools[0], self.pools[0])))

    def late(self, second: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        """The rest, from what the second layer gave."""
        x = nn.relu(self.conv3(max_pool(second, self.pools[1], self.pools[1])))
        return self.fc1(max_pool(x, self.pools[2], self.pools[2]))


class Detector(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> heat-map of each joint [b, h / 4, w / 4, joints], linear; h, w in fours.

    `banks` is the number of resolutions. `exact` runs the second bank for each of four shifts, so that every cell
    gets what it would get alone; otherwise neighbours share the answer of the coarser banks: the simplified
    model. Three banks of width 128 have 18.4 million parameters and 0.13 after them. Raises ValueError for sizes
    that 4 does not divide, and for `exact` with more than two banks.
    """

    joints: int
    banks: int = 3
    width: int = 128
    exact: bool = False

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 k"]:
        if any(n % CELL for n in image.shape[1:3]):
            raise ValueError(f"an image of {image.shape[1]}x{image.shape[2]}: sides must be multiples of {CELL}")
        if self.exact and self.banks > 2:
            raise ValueError("exact windows are made for one and two banks")
        size, total = [n // CELL for n in image.shape[1:3]], 0.0
        for level in range(self.banks):
            bank, x = Bank(self.width, name=f"bank{level}"), local_contrast_normalise(half(image, level))
            if self.exact and level:
                one = each_shift(bank, x, size)
            else:
                count = [-(-n // 2**level) for n in size]
                one = nearest_upsample(bank(windows(x, count, (BEFORE, BEFORE))), 2**level)
            total = total + one[:, : size[0], : size[1]]
        x = nn.relu(total)
        x = nn.relu(Conv(2 * self.width, (1, 1), kernel_init=HE, name="fc2")(x))
        return Conv(self.joints, (1, 1), kernel_init=LAST, name="fc3")(x)


def half(image: Float[Array, "b h w c"], times: int) -> Float[Array, "b h2 w2 c"]:
    """The image at half its size, so many times: means of 2x2; an odd last row or column is repeated."""
    for _ in range(times):
        image = jnp.pad(image, ((0, 0), *((0, n % 2) for n in image.shape[1:3]), (0, 0)), mode="edge")
        b, h, w, c = image.shape
        image = image.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return image


def windows(x: Float[Array, "b h w c"], count: list[int], before: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """x with zeros around, `before` of them above and to the left, of the size that gives `count` answers each way."""
    need = [CELL * (n - 1) + WINDOW for n in count]
    after = [n - b - size for n, b, size in zip(need, before, x.shape[1:3], strict=True)]
    return jnp.pad(x, ((0, 0), *((b, max(a, 0)) for b, a in zip(before, after, strict=True)), (0, 0)))[
        :, : need[0], : need[1]
    ]


def each_shift(bank: Bank, x: Float[Array, "b h w c"], size: list[int]) -> Float[Array, "b h2 w2 c2"]:
    """The half-size bank's answer for every cell: cells of even and of odd number are 2 pixels apart in it, and a run
    of the bank steps by 4."""
    shifts = (BEFORE + 1, BEFORE - 1)
    count = [-(-n // 2) for n in size]
    rows = [jnp.stack([bank(windows(x, count, (y, x_))) for x_ in shifts], 3) for y in shifts]
    both = jnp.stack(rows, 2)  # [b, h, 2, w, 2, c]
    b, h, _, w, _, c = both.shape
    return both.reshape(b, 2 * h, 2 * w, c)

"""Context modules: Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016 (arXiv
1511.07122), table 1. Score maps in, score maps of the same size out, each made of 67x67 cells around it: layers of 3x3
convolutions whose dilation doubles see exponentially far at full resolution.

With random weights these modules do not learn; they start as the identity (section 3, equations 4 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv

# Dilations of the 3x3 convolutions; a 1x1 convolution follows
DILATION7 = (1, 1, 2, 4, 8, 1)  # KITTI
DILATION8 = (1, 1, 2, 4, 8, 16, 1)  # Pascal VOC, CamVid
DILATION10 = (1, 1, 2, 4, 8, 16, 32, 64, 1)  # Cityscapes


def identity(classes: int, noise: float = 0.0) -> nn.initializers.Initializer:
    """For kernels [row, column, in, out] of odd windows whose channels come in `classes` groups: each output channel is
    the mean of the input channels of its group (equation 5; equation 4 where there are as many channels as classes).

    The mean of c_in / classes channels, times c_in / c_out: chained from `classes` channels to `classes` channels,
    these factors cancel. All other weights are drawn from N(0, noise^2). Raises UserError where channels do not divide
    into groups.
    """

    def start(key, shape, dtype=jnp.float32) -> jax.Array:
        rows, columns, c_in, c_out = shape
        if c_in % classes or c_out % classes:
            raise UserError(f"{c_in} to {c_out} channels for {classes} classes: take multiples of the classes")
        groups = [np.arange(n) * classes // n for n in (c_in, c_out)]
        passed = np.zeros(shape, bool)
        passed[rows // 2, columns // 2] = groups[0][:, None] == groups[1][None]
        rest = noise * jax.random.normal(key, shape, dtype) if noise else 0
        return jnp.where(passed, jnp.asarray(classes / c_out, dtype), rest)

    return start


class Context(nn.Module):
    """Class scores [b, h, w, c] -> class scores [b, h2, w2, c], linear; a ReLU follows each layer but the last.

    Basic has c channels throughout: 28,392 parameters for 21 classes. `large` has 2c, 2c, 4c, 8c, 16c, 32c and 32c
    (twice the largest dilation so far), then c: 6,803,139 parameters. At the start scores that are not negative pass
    through unchanged; `noise` is the deviation of the weights that are not the identity's, by default 0 for Basic and
    1e-3 for Large, whose channels of one class would stay equal for ever without. `padding` "SAME" gives each layer
    zeros around and keeps the size; "VALID" takes 33 cells a side off (with DILATION8): the paper pads the scores by as
    many before.
    """

    large: bool = False
    dilations: Sequence[int] = DILATION8
    noise: float | None = None
    padding: Literal["SAME", "VALID"] = "SAME"

    @nn.compact
    def __call__(self, scores: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        classes = scores.shape[-1]
        default = 1e-3 if self.large else 0.0
        init = identity(classes, default if self.noise is None else self.noise)
        x = scores
        for layer, dilation in enumerate(self.dilations, 1):
            channels = classes * 2 * max(self.dilations[:layer]) if self.large else classes
            conv = Conv(
                channels, (3, 3), 1, self.padding, kernel_dilation=dilation, kernel_init=init, name=f"layer{layer}"
            )
            x = nn.relu(conv(x))
        return Conv(classes, (1, 1), kernel_init=init, name=f"layer{len(self.dilations) + 1}")(x)

"""SRCNN: Dong, Loy, He & Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv

small = nn.initializers.normal(0.001)


class SRCNN(nn.Module):
    """Luminance enlarged by bicubic interpolation [b, h, w, c] in [0, 1] -> sharpened [b, h2, w2, c], linear.

    `windows` (f1, f2, f3) are (9, 1, 5), (9, 3, 5) or (9, 5, 5): 8,129, 24,513 or 57,281 parameters for one channel.
    "VALID" is the paper's training, h2 = h - sum(windows) + 3; "EDGE" its test, where every convolution keeps the size
    and sees the outermost pixels go on; "SAME" pads with zeros. All have the same parameters. `hidden_init` draws the
    first two kernels; the third's deviation is 0.001, as are all in the paper.
    """

    windows: tuple[int, int, int] = (9, 1, 5)
    filters: tuple[int, int] = (64, 32)
    padding: Literal["VALID", "EDGE", "SAME"] = "VALID"
    hidden_init: nn.initializers.Initializer = small

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        channels, padding = x.shape[-1], "SAME" if self.padding == "SAME" else "VALID"
        for index, (n, window) in enumerate(zip((*self.filters, channels), self.windows, strict=True), 1):
            if self.padding == "EDGE":
                x = jnp.pad(x, ((0, 0), *((window // 2, window // 2),) * 2, (0, 0)), mode="edge")
            init = small if index == 3 else self.hidden_init
            conv = Conv(n, (window, window), padding=padding, kernel_init=init, name=f"conv{index}")
            x = conv(x) if index == 3 else nn.relu(conv(x))
        return x

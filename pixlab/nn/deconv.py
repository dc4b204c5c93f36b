"""Transposed convolution of window 4 and stride 2, the enlargement between two levels of many networks."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.conv import conv
from pixlab.nn.platform import choose


def deconv(x: Float[Array, "b h w c"], kernel: Float[Array, "4 4 c c2"]) -> Float[Array, "b h2 w2 c2"]:
    """[b, h, w, c] * [4, 4, c, c2] -> [b, 2h, 2w, c2]: out[2i - 1 + r, 2j - 1 + s] sums x[i, j] @ kernel[r, s]."""
    return choose(x, kernel, cpu=_phases, default=_plain)


def _plain(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    turned = kernel[::-1, ::-1]
    return lax.conv_general_dilated(x, turned, (1, 1), ((2, 2),) * 2, lhs_dilation=(2, 2), dimension_numbers=numbers)


def _phases(x, kernel):
    """Even and odd rows and columns each as a 2x2 convolution: XLA:CPU takes the gradients 30 times as fast."""
    rows = []
    for r in (0, 1):
        phases = [conv(x, kernel[3 - r :: -2, 3 - s :: -2], ((1 - r, r), (1 - s, s))) for s in (0, 1)]
        rows.append(jnp.stack(phases, axis=3))
    out = jnp.stack(rows, axis=2)  # rows, their phases, columns, their phases
    b, h, _, w, _, c = out.shape
    return out.reshape(b, 2 * h, 2 * w, c)


# He's variance, 2, for the quarter of the window that an output sees
INIT = nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")


class Deconv(nn.Module):
    """`deconv` with its kernel [4, 4, in, out] and a bias; each output sees four inputs of every channel."""

    features: int
    kernel_init: jax.nn.initializers.Initializer = INIT

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        kernel = self.param("kernel", self.kernel_init, (4, 4, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        return deconv(x, kernel) + bias[None, None, None]

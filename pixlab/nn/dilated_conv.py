"""Dilated convolution with many channels: XLA:CPU takes two to three times as long for its kernel's gradient as for a
matrix product per tap."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.winograd import Pads

MANY = 256  # channels in and out from which the products gain more than what copying the taps costs


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def dilated_conv(
    x: Float[Array, "b h w c"], kernel: Float[Array, "n m c c2"], pads: Pads, dilation: tuple[int, int]
) -> Float[Array, "b h2 w2 c2"]:
    """Convolution [b,h,w,c] * [n,m,c,c2] of stride 1, taps `dilation` rows and columns apart, with zeros around."""
    return _direct(x, kernel, pads, dilation)


def _direct(x, kernel, pads, dilation):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, rhs_dilation=dilation, dimension_numbers=numbers)


def _gradients(pads, dilation, saved, grad):
    x, kernel = saved
    n, m, c, d = kernel.shape
    _, to_image = jax.vjp(lambda x: _direct(x, kernel, pads, dilation), x)
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0))).transpose(3, 0, 1, 2)
    (h, w), (down, across), out = grad.shape[1:3], dilation, grad.reshape(-1, d)
    taps = [
        padded[:, :, down * i : down * i + h, across * j : across * j + w].reshape(c, -1) @ out
        for i in range(n)
        for j in range(m)
    ]
    return *to_image(grad), jnp.stack(taps).reshape(kernel.shape)


dilated_conv.defvjp(lambda x, kernel, *how: (_direct(x, kernel, *how), (x, kernel)), _gradients)

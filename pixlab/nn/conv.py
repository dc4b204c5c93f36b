"""Convolution, faster on CPUs: the same function everywhere, computed by other formulas where XLA:CPU gains by them.

Wide convolutions go by Winograd's filtering (winograd.py), those to few channels and 1x1 by matrix products
(thin_conv.py). The kernel's gradient is a convolution of the image with the output's gradient or the other way round,
whichever has fewer channels goes first, which is up to ten times as fast; where one has very few it is a matrix product
as well, and several where the window is large (large_window.py) or a dilated layer has many (dilated_conv.py). TPUs
and GPUs get `lax.conv_general_dilated` as it is.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.dilated_conv import MANY, dilated_conv
from pixlab.nn.large_window import kernel_gradient_by_columns, large
from pixlab.nn.platform import choose
from pixlab.nn.thin_conv import few, kernel_gradient_of_patches, opposite, to_few_channels
from pixlab.nn.winograd import Pads, winograd, winograd_kernel_gradient

WIDE = {(3, 3): 32, (5, 5): 64}  # channels in and out from which the transforms cost less than what they save
SLOW_WITHOUT_PADS = 32  # channels from which XLA takes two to six times as long unless a row of zeros lies around


def conv_general_dilated(x, kernel, strides, padding, **options):
    """For `nn.Conv(conv_general_dilated=...)`: `lax.conv_general_dilated`, by the formulas below where it is on a CPU,
    float32, two-dimensional, without strides and groups, and padded by less than the window."""
    plain = functools.partial(lax.conv_general_dilated, window_strides=strides, padding=padding, **options)
    once = (*strides, *options["lhs_dilation"], options["feature_group_count"])
    if x.ndim != 4 or x.dtype != jnp.float32 or set(once) != {1} or options["precision"] is not None:
        return plain(x, kernel)
    dilation = tuple(options["rhs_dilation"])
    window = tuple(d * (n - 1) + 1 for d, n in zip(dilation, kernel.shape, strict=False))
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    pads = tuple(map(tuple, padding))
    if any(not 0 <= pad < n for both, n in zip(pads, window, strict=True) for pad in both):
        return plain(x, kernel)
    if dilation == (1, 1):
        return choose(x, kernel, cpu=lambda x, kernel: conv(x, kernel, pads), default=plain)
    if min(kernel.shape[2:]) < MANY:
        return plain(x, kernel)
    return choose(x, kernel, cpu=lambda x, kernel: dilated_conv(x, kernel, pads, dilation), default=plain)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""`flax.linen.Conv` with this convolution."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Float[Array, "b h w c"], kernel: Float[Array, "n m c c2"], pads: Pads) -> Float[Array, "b h2 w2 c2"]:
    """Convolution [b,h,w,c] * [n,m,c,c2] of stride 1 with zeros around, pads ((top, bottom), (left, right))."""
    if _wide(kernel.shape):
        return winograd(x, kernel, pads)
    if kernel.shape[:2] == (1, 1):
        return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])
    if few(kernel.shape) and kernel.shape[3] < kernel.shape[2]:
        return to_few_channels(x, kernel, pads)
    if not np.any(pads) and kernel.shape[2] >= SLOW_WITHOUT_PADS:
        return _direct(x, kernel, ((1, 0), (0, 0)))[:, 1:]
    return _direct(x, kernel, pads)


def _direct(x, kernel, pads):
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _gradients(pads, saved, grad):
    x, kernel = saved
    turned, back = kernel[::-1, ::-1], opposite(pads, kernel.shape)
    if _wide(kernel.shape):
        return winograd(grad, turned, back, back=True), winograd_kernel_gradient(x, grad, pads, len(kernel))
    return conv(grad, turned.swapaxes(2, 3), back), kernel_gradient(x, grad, pads, kernel.shape)


conv.defvjp(lambda x, kernel, pads: (conv(x, kernel, pads), (x, kernel)), _gradients)


def _wide(shape: tuple[int, ...]) -> bool:
    return min(shape[2:]) >= WIDE.get(shape[:2], np.inf)


def kernel_gradient(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, window: tuple[int, ...]
) -> Float[Array, "n m c c2"]:
    """Gradient [n,m,c,c2] of the kernel of `conv` from its input and its output's gradient."""
    if window[:2] == (1, 1):
        return jnp.einsum("bhwc,bhwd->cd", x, grad)[None, None]
    if few(window):
        return kernel_gradient_of_patches(x, grad, pads, window)
    if large(window, grad.shape):
        return kernel_gradient_by_columns(x, grad, pads, window)
    if x.shape[3] <= grad.shape[3]:
        return _correlate(x, grad, pads, (2, 3, 0, 1))
    pads = opposite(pads, window)
    if any(m > n for n, m in zip(grad.shape[1:3], x.shape[1:3], strict=True)):
        # XLA:CPU takes ten times as long for windows that are larger than what they slide over
        grad, pads = jnp.pad(grad, ((0, 0), *pads, (0, 0))), ((0, 0), (0, 0))
    return _correlate(grad, x, pads, (3, 2, 0, 1))[::-1, ::-1]


def _correlate(image, kernel, pads, out):
    """Convolution whose batch is the channels of `image` and whose channels are its batch."""
    numbers = lax.ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), out)
    return lax.conv_general_dilated(image, kernel, (1, 1), pads, dimension_numbers=numbers)

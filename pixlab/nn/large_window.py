"""Kernel gradients of large windows as matrix products, which take XLA:CPU half as long as the convolution or less."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.winograd import Pads

ROWS = 7  # of the window from which on, and
CHANNELS = 32  # in and out, and
PIXELS = 2500  # of the output from which the products cost less than what is copied for them


def large(window: tuple[int, ...], grad: tuple[int, ...]) -> bool:
    """Whether `kernel_gradient_by_columns` is faster for a kernel [n, m, c, c2] and an output [b, h2, w2, c2]."""
    return window[0] >= ROWS and min(window[2:]) >= CHANNELS and grad[1] * grad[2] >= PIXELS


def kernel_gradient_by_columns(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, window: tuple[int, ...]
) -> Float[Array, "n m c c2"]:
    """Gradient [n,m,c,c2] of the kernel of a convolution of stride 1, zeros around, from its input and its output's
    gradient.

    Picture by picture, the output's gradient shifted by each row of the window is multiplied with the image shifted by
    one column after the other: the n rows of a column come from one product.
    """
    n, m, c, d = window
    h, w = grad.shape[1:3]
    image = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    grad = jnp.pad(grad, ((0, 0), (n - 1, n - 1), (0, 0), (0, 0))).transpose(0, 3, 1, 2)

    def add(total: Array, picture: tuple[Array, Array]) -> tuple[Array, None]:
        image, grad = picture
        rows = jnp.concatenate([grad[:, n - 1 - i : 2 * (n - 1) - i + h] for i in range(n)]).reshape(n * d, -1)
        return total + jnp.stack([rows @ image[:, j : j + w].reshape(-1, c) for j in range(m)]), None

    total, _ = lax.scan(add, jnp.zeros((m, n * d, c), x.dtype), (image, grad))
    return total.reshape(m, n, d, c).transpose(1, 0, 3, 2)

"""Local contrast normalisation: Jarrett, Kavukcuoglu, Ranzato & LeCun, ICCV 2009, section 3.1."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def local_contrast_normalise(
    x: Float[Array, "b h w c"], window: int = 9, sigma: float = 2.0
) -> Float[Array, "b h w c"]:
    """x minus its local mean, divided by its local deviation or the image's mean deviation, whichever is more.

    Mean and variance weigh an odd `window` of neighbours in all channels by a Gaussian of `sigma` pixels; at the border
    those inside the image alone. A flat image becomes 0. Computed in float32, whatever comes in: differences of what
    is nearly equal.
    """
    kind, x = x.dtype, x.astype(jnp.float32)
    centred = x - _local_mean(x, window, sigma)
    deviation = jnp.sqrt(_local_mean(centred**2, window, sigma))
    least = jnp.maximum(deviation.mean((1, 2), keepdims=True), 1e-4)
    return (centred / jnp.maximum(deviation, least)).astype(kind)


def _local_mean(x, window, sigma):
    """[b, h, w, 1]: mean over channels and a Gaussian window."""
    x = x.mean(-1, keepdims=True)
    at = np.arange(window) - window // 2
    weights = jnp.asarray(np.exp(-(at**2) / (2 * sigma**2)), x.dtype)

    def blur(x):
        for shape in ((window, 1, 1, 1), (1, window, 1, 1)):
            x = lax.conv_general_dilated(
                x, weights.reshape(shape), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        return x

    return blur(x) / blur(jnp.ones_like(x[:1]))

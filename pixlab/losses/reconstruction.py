"""How far a picture is from what it should be, pixel by pixel."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def l1(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, ""]:
    """Mean absolute error over pixels and channels: EDSR's loss (Lim et al. 2017, arXiv 1707.02921)."""
    return jnp.mean(jnp.abs(prediction - target))


def l2(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, ""]:
    """Mean squared error over pixels and channels: SRCNN's (Dong et al. 2016, arXiv 1501.00092, equation 4)."""
    return jnp.mean((prediction - target) ** 2)


def half_sum_of_squares(prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, ""]:
    """Sum of squared errors over pixels and channels, halved, mean over the batch: Caffe's EuclideanLoss.

    Rates published for SRCNN's and VDSR's networks are for this sum: it is h w c / 2 times `l2`.
    """
    return jnp.sum((prediction - target) ** 2) / (2 * prediction.shape[0])

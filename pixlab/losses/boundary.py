"""Losses on maps of boundaries, where few pixels are positive."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError


def balanced_cross_entropy(
    logits: Float[Array, "b h w 1"],
    label: Float[Array, "b h w 1"],
    valid: Float[Array, "b h w 1"],
    *,
    normalisation: str = "sum",
) -> Float[Array, ""]:
    """Class-balanced cross-entropy of HED in nats, summed over the pixels of each image; the mean over the images.

    With s = sigmoid(logits) and beta the share of an image's pixels that are negative, the sum of -beta log s over the
    positive and of -(1 - beta) log(1 - s) over the negative ones. Pixels count, in the sums and in beta, where `valid`
    is 1 and `label` is 0 or 1; other labels are legal. `normalisation`: "sum", as published (with rates of 1e-6), or
    "pixels", divided by each image's number of counted pixels. An image without any of one kind adds nothing. Raises
    UserError for another `normalisation`.
    Xie & Tu, ICCV 2015 (arXiv 1504.06375), equation 2.
    """
    if normalisation not in ("sum", "pixels"):
        raise UserError(f"normalisation is {normalisation!r}: use 'sum' or 'pixels'")
    positive, negative = (jnp.where(label == kind, valid, 0.0) for kind in (1, 0))
    positives, negatives = (jnp.sum(kind, axis=(1, 2, 3)) for kind in (positive, negative))
    counted = jnp.maximum(positives + negatives, 1.0)
    hits = -jnp.sum(positive * jax.nn.log_sigmoid(logits), axis=(1, 2, 3))
    misses = -jnp.sum(negative * jax.nn.log_sigmoid(-logits), axis=(1, 2, 3))
    loss = (negatives * hits + positives * misses) / counted
    return jnp.mean(loss / counted if normalisation == "pixels" else loss)

"""Losses on predicted colours: Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016 (arXiv 1603.08511).

Both sum over the cells of an image and average over images: classification as the authors' release does, and as there
grey images count 0. The regression counts grey images like all others.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.ab_bins import GREY, LEAST, soft_encode


def class_weights(prior: Float[Array, " q"], uniform: float = 0.5) -> Float[Array, " q"]:
    """Weights of bins, equation 4: 1 / ((1 - uniform) prior + uniform / Q), scaled so that their mean under the prior
    is 1. `uniform` 1 weighs all alike, 0 by the prior's inverse. Q counts all bins, where the release counts those that
    occur: ours give to every bin LEAST or more, and less than that counts as LEAST here."""
    weights = 1 / ((1 - uniform) * jnp.maximum(prior, LEAST) + uniform / prior.size)
    return weights / jnp.sum(prior * weights)


def has_colour(ab: Float[Array, "b h w 2"]) -> Float[Array, " b"]:
    """1 for an image with a pixel whose a or b is beyond +-GREY, 0 for a grey one."""
    return jnp.any(jnp.abs(ab) > GREY, axis=(1, 2, 3)).astype(jnp.float32)


def rebalanced_cross_entropy(
    logits: Float[Array, "b h w 313"], ab: Float[Array, "b h w 2"], weights: Float[Array, " 313"]
) -> Float[Array, ""]:
    """Cross-entropy in nats between scores of the bins and the soft encoding of the true a, b, each cell weighted by
    its nearest bin's weight, equation 2; grey images count 0. Its gradient is the release's, which weights only that.
    """
    bins, share = soft_encode(ab)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), bins, axis=-1)
    cells = -jnp.sum(share * log_p, axis=-1) * weights[bins[..., 0]]
    return jnp.mean(has_colour(ab) * jnp.sum(cells, axis=(1, 2)))


def ab_loss(predicted: Float[Array, "b h w 2"], ab: Float[Array, "b h w 2"]) -> Float[Array, ""]:
    """Half the squared Euclidean distance of a, b, equation 1."""
    return 0.5 * jnp.mean(jnp.sum((predicted - ab) ** 2, axis=(1, 2, 3)))

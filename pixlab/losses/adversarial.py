"""Two networks against each other, on logits: the discriminator's for real pictures and for made ones.

Goodfellow et al., "Generative Adversarial Nets", NIPS 2014 (arXiv 1406.2661). Logits have any shape, such as one per
image [b] or one per patch; losses are means over all of them. With sigmoid s, -log s(l) = softplus(-l).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def real_loss(logits: Float[Array, "*_"]) -> Float[Array, ""]:
    """Mean cross-entropy -log s(l) of pictures that should be called real."""
    return jnp.mean(jax.nn.softplus(-logits))


def fake_loss(logits: Float[Array, "*_"]) -> Float[Array, ""]:
    """Mean cross-entropy -log(1 - s(l)) of pictures that should be called made."""
    return jnp.mean(jax.nn.softplus(logits))


def discriminator_loss(real: Float[Array, "*_"], fake: Float[Array, "*_"]) -> Float[Array, ""]:
    """`real_loss` plus `fake_loss`, not halved: 2 log 2 for a discriminator that cannot tell."""
    return real_loss(real) + fake_loss(fake)


def generator_loss(fake: Float[Array, "*_"]) -> Float[Array, ""]:
    """Mean of -log s(l), by which made pictures should be called real: the one that does not saturate.

    Ledig et al. 2017 (arXiv 1609.04802), equation 6, sums over the batch.
    """
    return real_loss(fake)


def statistics(real: Float[Array, "*_"], fake: Float[Array, "*_"]) -> dict[str, Float[Array, ""]]:
    """What to watch of a discriminator: its mean probability of "real" for both kinds, both halves of its loss, and the
    share of logits on the right side of 0, each kind counting half (a logit of 0 counts half)."""
    right = lambda logits: jnp.mean((1 + jnp.sign(logits)) / 2)  # noqa: E731
    return {
        "probability_real": jnp.mean(jax.nn.sigmoid(real)),
        "probability_fake": jnp.mean(jax.nn.sigmoid(fake)),
        "loss_real": real_loss(real),
        "loss_fake": fake_loss(fake),
        "accuracy": (right(real) + right(-fake)) / 2,
    }

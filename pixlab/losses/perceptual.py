"""Pictures compared by what a classifier sees in them (`models.vgg.VGGFeatures`), and how rough they are.

Johnson, Alahi & Fei-Fei, ECCV 2016 (arXiv 1603.08155); Ledig et al., CVPR 2017 (arXiv 1609.04802) for `vgg_loss`. All
are means over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float


def feature_loss(features: Float[Array, "b h w c"], target: Float[Array, "b h w c"]) -> Float[Array, ""]:
    """Squared distance of two pictures' features, divided by c h w: Johnson et al., equation 2."""
    return jnp.mean((features - target) ** 2)


def vgg_loss(
    features: Float[Array, "b h w c"], target: Float[Array, "b h w c"], *, scale: float = 1 / 12.75
) -> Float[Array, ""]:
    """Squared distance of two pictures' features times `scale`, divided by h w alone: Ledig et al., equation 5.

    Their scale is 1 / 12.75, which makes the loss about 0.006 times as large.
    """
    return scale**2 * jnp.mean(jnp.sum((features - target) ** 2, -1))


def gram(features: Float[Array, "b h w c"]) -> Float[Array, "b c c"]:
    """Which features are found together: sums over the cells of their products, divided by c h w.

    Johnson et al., equation 3.
    """
    _, h, w, c = features.shape
    return jnp.einsum("bhwc,bhwd->bcd", features, features) / (c * h * w)


def style_loss(
    features: Mapping[str, Float[Array, "b _ _ _"]], targets: Mapping[str, Float[Array, "_ _ _"]], mean: bool = False
) -> Float[Array, ""]:
    """Squared distance of the `gram` of each layer from the target's, summed over the layers of `targets`.

    Johnson et al., equation 4. `targets` are Gram matrices [b, c, c], or [1, c, c] for all images. With `mean`, each
    layer's is divided by c^2, as in the authors' release.
    """
    reduce = jnp.mean if mean else jnp.sum
    each = (reduce((gram(features[name]) - target) ** 2, (1, 2)) for name, target in targets.items())
    return jnp.mean(sum(each))


def total_variation(image: Float[Array, "b h w c"]) -> Float[Array, ""]:
    """Sum over pixels and channels of the squared differences to the right and lower neighbours.

    Johnson et al.'s regulariser. Their release takes the gradient of half of it, summed over the batch, in units of
    1/255: its weight w is b w / 2 * 255^2 here, with b images in [0, 1].
    """
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return (jnp.sum(down**2) + jnp.sum(right**2)) / image.shape[0]

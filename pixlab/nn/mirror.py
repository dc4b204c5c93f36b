"""Heat-maps of a picture and of its mirror image, taken together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def mirror_averaged(
    maps_of: Callable[[Float[Array, "b h w c"]], Float[Array, "b h2 w2 k"]],
    image: Float[Array, "b h w c"],
    counterparts: Sequence[int],
) -> Float[Array, "b h2 w2 k"]:
    """Mean of the maps of the image and of those of its mirror image, mirrored back; map k of the latter takes the
    place of map counterparts[k]: the mirror image of a left hand is a right hand."""
    back = maps_of(image[:, :, ::-1])[:, :, ::-1][..., jnp.asarray(counterparts)]
    return (maps_of(image) + back) / 2

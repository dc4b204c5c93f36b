"""Heat-maps of joints: what they should be, and how far they are from it.

Places are (x, y) in cells, the centre of the top-left cell at (0, 0). A joint that lies between cells gets the
Gaussian's values at the cells around it, so that nothing is rounded away. `known` is 0 for joints that nobody labelled.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def gaussian_maps(
    places: Float[Array, "b k 2"], known: Float[Array, "b k"], size: tuple[int, int], sigma: float = 1.5
) -> Float[Array, "b h w k"]:
    """exp(-d^2 / (2 sigma^2)) at distance d from each known joint, on maps of `size` (h, w); zeros for the others.

    A joint outside the map leaves on it what reaches inside. Sigma is in cells; about 1.5 is what Tompson et al., CVPR
    2015 (arXiv 1411.4280), are remembered to take.
    """
    x, y = (jnp.where(known > 0, places[..., axis], 0.0)[:, None] for axis in (0, 1))
    down, across = (
        jnp.exp(-((jnp.arange(n, dtype=jnp.float32)[None, :, None] - at) ** 2) / (2 * sigma**2))
        for n, at in zip(size, (y, x), strict=True)
    )
    return down[:, :, None] * across[:, None] * known[:, None, None]


def heatmap_loss(
    maps: Float[Array, "b h w k"], target: Float[Array, "b h w k"], known: Float[Array, "b k"]
) -> Float[Array, ""]:
    """Mean squared error over the cells of the known joints; 0 without any.

    Tompson et al. 2014 (arXiv 1406.2984), and E1 of 2015 (arXiv 1411.4280), which sums over cells. An
    unknown joint is left out: its map should not learn that the joint is nowhere.
    """
    error = jnp.mean((maps - target) ** 2, (1, 2)) * known
    return error.sum() / jnp.maximum(known.sum(), 1)

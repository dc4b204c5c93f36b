"""One-to-one pairs by score, in arrays of fixed size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def greedy_pairs(score: Float[Array, "n m"]) -> Int[Array, " n"]:
    """The column of each row's partner, or -1: again and again the highest score above 0 pairs its row and its column.

    Of equal scores the first counts, row by row.
    """
    n, m = score.shape

    def pair(_, state):
        left, partner = state
        row, column = jnp.unravel_index(jnp.argmax(left), (n, m))
        good = left[row, column] > 0
        taken = (jnp.arange(n) == row)[:, None] | (jnp.arange(m) == column)[None]
        partner = partner.at[row].set(jnp.where(good, column.astype(jnp.int32), partner[row]))
        return jnp.where(good & taken, 0.0, left), partner

    return jax.lax.fori_loop(0, min(n, m), pair, (score, jnp.full(n, -1, jnp.int32)))[1]

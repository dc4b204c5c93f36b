"""One answer from the eight ways to lay a picture down: EDSR's "+", Lim et al., CVPRW 2017 (arXiv 1707.02921)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float


def self_ensembled(
    apply: Callable[[Float[Array, "_ _ _ c"]], Float[Array, "_ _ _ c2"]], x: Float[Array, "b h w c"]
) -> Float[Array, "b h2 w2 c2"]:
    """Mean of the answers to x flipped and transposed in all 8 ways, each answer put back; nothing is rounded.

    `apply` is called eight times, with two shapes where h and w differ.
    """
    total = 0
    for rows, columns, transposed in itertools.product((1, -1), (1, -1), (False, True)):
        turn = lambda x: x[:, ::rows, ::columns]  # noqa: B023, E731
        answer = apply(turn(x).swapaxes(1, 2) if transposed else turn(x))
        total += turn(answer.swapaxes(1, 2) if transposed else answer)
    return jnp.asarray(total) / 8

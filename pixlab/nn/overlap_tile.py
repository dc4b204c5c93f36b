"""Whole pictures through a network of unpadded convolutions, tile by tile: Ronneberger, Fischer & Brox, "U-Net", MICCAI
2015 (arXiv 1505.04597), figure 2.

Each tile of the answer is computed from a larger tile of the picture, which is mirrored beyond its border. Networks
that pool look at their pixels in steps: tiles begin at multiples of these, so that they give what the whole picture in
one piece would give. The paper's tiles of 388 rows are therefore laid every 384.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pixlab.errors import UserError


def reflected(length: int, start: int, count: int) -> Int[np.ndarray, " count"]:
    """Which of `length` pixels lie at `start`, start + 1, ... of a line that is mirrored at its two outermost pixels.

    Those come once; the line may be as short as one pixel and is mirrored as often as needed.
    """
    turn = 2 * max(length - 1, 1)
    at = np.abs(np.arange(start, start + count)) % turn
    return np.minimum(np.minimum(at, turn - at), length - 1)


def overlap_tile(
    apply: Callable[[Float[Array, "b rows columns c"]], Float[Array, "b rows2 columns2 k"]],
    image: Float[Array, "b h w c"],
    *,
    tile: int,
    margin: int,
    multiple: int = 1,
) -> Float[Array, "b h w k"]:
    """What `apply`, which loses `margin` pixels on each side, says of every pixel of the image, in any size of it.

    It sees at most `tile` rows and columns at once, one tile after the other. Its answer may change with where in steps
    of `multiple` pixels its input begins; it takes inputs of tile - multiple, tile - 2 multiple, ... as well, one of
    which is enough for small images. Raises UserError where a tile has no room for a step, ValueError where `apply`
    does not lose the margin.
    """
    answer = tile - 2 * margin
    if answer < multiple:
        raise UserError(f"tiles of {tile} pixels with margins of {margin}: give at least {2 * margin + multiple}")
    (high, rows), (wide, columns) = (_along(n, answer, multiple) for n in image.shape[1:3])
    step_down, step_across = (
        size if count == 1 else size // multiple * multiple for size, count in ((high, rows), (wide, columns))
    )
    down = reflected(image.shape[1], -margin, (rows - 1) * step_down + high + 2 * margin)
    across = reflected(image.shape[2], -margin, (columns - 1) * step_across + wide + 2 * margin)
    padded = image[:, down][:, :, across]

    def one(at: Int[Array, " axes"]) -> Float[Array, "b _ _ k"]:
        seen = jax.lax.dynamic_slice_in_dim(padded, at[0], high + 2 * margin, axis=1)
        found = apply(jax.lax.dynamic_slice_in_dim(seen, at[1], wide + 2 * margin, axis=2))
        if found.shape[1:3] != (high, wide):
            raise ValueError(f"a tile became {found.shape[1:3]}, not {(high, wide)}: does it lose {margin} each side?")
        return found[:, :step_down, :step_across]

    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1)
    starts = jnp.asarray(grid.reshape(-1, 2) * (step_down, step_across))
    if rows * columns == 1:
        tiles = one(starts[0])[None]
    else:
        tiles = jax.lax.map(one, starts)
    tiles = tiles.reshape(rows, columns, *tiles.shape[1:]).transpose(2, 0, 3, 1, 4, 5)
    whole = tiles.reshape(image.shape[0], rows * step_down, columns * step_across, -1)
    return whole[:, : image.shape[1], : image.shape[2]]


def _along(length: int, answer: int, multiple: int) -> tuple[int, int]:
    """Rows of the answer to a tile, and how many tiles there are along an axis."""
    enough = length + (answer - length) % multiple
    if enough <= answer:
        return enough, 1
    return answer, -(-length // (answer // multiple * multiple))

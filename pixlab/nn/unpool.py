"""Max pooling that remembers where the maximum was, and its way back: Badrinarayanan, Kendall & Cipolla, "SegNet",
TPAMI 2017 (arXiv 1511.00561), section 3 and figure 3. A place is one of four cells: 2 bits, as the paper counts."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt8

from pixlab.errors import UserError


def max_pool_places(x: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h2 w2 c"], UInt8[Array, "b h2 w2 c"]]:
    """(maxima of 2x2 windows 2 apart, their places 0..3 in the window, row by row); h2 = ceil(h / 2), w2 = ceil(w / 2).

    A window that hangs over the end has a maximum among the cells that it has. Of equal cells the first one wins; its
    place says also where the gradient goes. The maxima are those of `max_pool(x, 2, 2, ceil=True)`.
    """
    h, w = x.shape[1:3]
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), (0, h % 2, 0), (0, w % 2, 0), (0, 0, 0)))
    top, in_top = _larger(x[:, ::2, ::2], x[:, ::2, 1::2])
    bottom, in_bottom = _larger(x[:, 1::2, ::2], x[:, 1::2, 1::2])
    value, low = _larger(top, bottom)
    return value, jnp.where(low, 2 + in_bottom.astype(jnp.uint8), in_top.astype(jnp.uint8))


def unpool(
    x: Float[Array, "b h2 w2 c"], places: UInt8[Array, "b h2 w2 c"], size: tuple[int, int]
) -> Float[Array, "b h w c"]:
    """A map of `size` (h, w) in which each value stands where its maximum was, zeros elsewhere.

    `places` are those of `max_pool_places` of a map of that size. Raises UserError for a size that pools to another.
    """
    h, w = size
    if x.shape[1:3] != (pooled := (-(-h // 2), -(-w // 2))):
        raise UserError(
            f"unpooling {x.shape[1]}x{x.shape[2]} to {h}x{w}, which pools to {pooled[0]}x{pooled[1]}: "
            "give the size that the map had before pooling"
        )
    zero = jnp.zeros((), x.dtype)
    cells = []
    for place in range(4):  # spread by zeros between; a select per place has a gradient without a scatter
        at = divmod(place, 2)
        rows, columns = ((at[i], size[i] - 2 * x.shape[1 + i] + 1 - at[i], 1) for i in (0, 1))  # may cut one off
        here = jnp.where(places == place, x, zero)
        cells.append(lax.pad(here, zero, ((0, 0, 0), rows, columns, (0, 0, 0))))
    return (cells[0] + cells[1]) + (cells[2] + cells[3])


def _larger(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(the larger, whether that is b); NaN is larger than all, a wins ties."""
    first = (a >= b) | jnp.isnan(a)
    return jnp.where(first, a, b), ~first

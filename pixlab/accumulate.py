"""A batch's gradient from its parts, one after the other: the memory of one part, the step of the whole batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pixlab.core import Aux


def in_parts(gradient, parts: int):
    """For `core.make_step`: `gradient` of a batch [b, ...] as the mean over `parts` batches of b / parts.

    Losses that are means over images come out the same; those that divide by a count of the whole batch (its valid
    pixels, say) weigh every part alike. Batch statistics are those of a part and move once for each. Parts take turns
    at the rows, so that every device keeps its own. `b` must be a multiple of `parts`.
    """
    if parts == 1:
        return gradient

    def deal(x):
        return jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)

    def collect(x):
        return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])

    def whole(trained, objective, params, carry, batch, key):
        hands, keys = jax.tree.map(deal, batch), jax.random.split(key, parts)

        def one(carry, hand, key):
            (value, aux), grads = gradient(trained, objective, params, carry, hand, key)
            return (value, dict(aux.logs), grads), dict(aux.carry), dict(aux.out)

        def add(total, now):
            sums, moved = total
            terms, moved, out = one(carry | moved, *now)
            return (jax.tree.map(jnp.add, sums, terms), moved), out

        first = jax.tree.map(lambda x: x[0], hands), keys[0]
        terms, moved, _ = jax.eval_shape(lambda now: one(carry, *now), first)
        begin = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), terms), {name: carry[name] for name in moved}
        (sums, moved), out = jax.lax.scan(add, begin, (hands, keys))
        value, logs, grads = jax.tree.map(lambda x: x / parts, sums)
        return (value, Aux(moved, logs, jax.tree.map(collect, out))), grads

    return whole

"""NumPy inside a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

_PIECE = 2**16  # bytes


def on_host(
    function: Callable[..., Sequence[np.ndarray]], results: Sequence[jax.ShapeDtypeStruct], *inputs: Array
) -> Sequence[Array]:
    """`function` of the inputs as NumPy arrays, which gives arrays of the shapes and types of `results`.

    Without gradient: it is stopped on the way in. `jax.vmap` calls `function` once for each.

    Inputs travel in pieces of 64 KiB. JAX copies larger ones in a thread of its own, and where there is only one, as on
    one core, that is the thread that waits for the callback.
    """
    flat = [jax.lax.stop_gradient(x).ravel() for x in inputs]
    pieces = [_split(x) for x in flat]

    def call(pieces: Any):
        whole = (np.concatenate([np.asarray(p) for p in parts]) for parts in pieces)
        return tuple(function(*(x.reshape(i.shape) for x, i in zip(whole, inputs, strict=True))))

    return jax.pure_callback(call, tuple(results), pieces, vmap_method="sequential")


def _split(flat):
    step = _PIECE // flat.dtype.itemsize
    return [flat[start : start + step] for start in range(0, max(len(flat), 1), step)]

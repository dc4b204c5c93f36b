"""Real two-dimensional Fourier transforms that stay split over devices.

`jnp.fft` gathers the whole batch on every device in jax 0.10 (no longer in 0.12); here each transforms its own part.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning
from jaxtyping import Array, Complex, Float

Size = tuple[int, int]


def fast_size(n: int) -> int:
    """The smallest even number from n on without a prime factor above 5: what Fourier transforms are fast at."""
    n += n % 2
    while not _smooth(n):
        n += 2
    return n


def _smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def rfft2(x: Float[Array, "*b h w"], size: Size) -> Complex[Array, "*b n f"]:
    """`jnp.fft.rfft2(x, s=size)` [..., n, m // 2 + 1] for size (n, m): zeros fill up to it."""
    return _along_batch(jnp.fft.rfft2, size)(x)


def irfft2(x: Complex[Array, "*b n f"], size: Size) -> Float[Array, "*b n m"]:
    """`jnp.fft.irfft2(x, s=size)` [..., n, m] for size (n, m)."""
    return _along_batch(jnp.fft.irfft2, size)(x)


@functools.cache
def _along_batch(transform, size: Size):
    """The transform of the last two axes, split over devices along any of the others."""

    def local(x):
        return transform(x, s=size)

    def partition(mesh, args, result):
        return mesh, local, result.sharding, (args[0].sharding,)

    split = custom_partitioning(local)
    axes = ("h", "w", "n", "m")  # which no device may have a part of
    split.def_partition(partition, sharding_rule="... h w -> ... n m", need_replication_factors=axes)
    batched = custom_vmap(split)
    batched.def_vmap(lambda size, in_batched, x: (batched(x), True))
    return batched

"""The same function by formulas that suit the platform a program is compiled for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import jax
from jax import lax

_plain = False


def choose(*arrays: jax.Array, cpu: Callable, default: Callable):
    """`cpu(*arrays)` in a program for CPUs, `default(*arrays)` in one for accelerators; both must be one function."""
    return default(*arrays) if _plain else lax.platform_dependent(*arrays, cpu=cpu, default=default)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """What is traced meanwhile takes the default alone: for converters that know no platforms."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before

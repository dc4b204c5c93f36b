"""TPU chips, by the name that a topology begins with: what each has, and in which slices Google Cloud lends it.

From docs.cloud.google.com/tpu/docs/v4, v5e, v5p and v6e, read in November 2026: peak, bandwidth of memory, slices (of
up to 256 chips), and of the interconnect half of what is published for both directions; for v4, of which that is not
published, its all-reduce bandwidth of a pod over the pod's chips, which gives the same figure for v5e and v6e. Memory
is what libtpu 0.0.42.1 says it gives a program; the rest of the published 32, 16, 95 and 32 GB it keeps.
"""

from __future__ import annotations

from typing import NamedTuple

from pixlab.errors import UserError

GIB = 2**30
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SOLID = ("2x2x1", "2x2x2", "2x4x4", "4x4x4", "4x4x8", "4x8x8")


class Chip(NamedTuple):
    """One chip."""

    memory: float  # bytes of HBM that a program may use
    flops: float  # a second, in bfloat16
    bandwidth: float  # bytes a second from and to HBM
    links: float  # bytes a second to other chips, over all links together, one way
    slices: tuple[str, ...]


CHIPS = {
    "v4": Chip(30.75 * GIB, 275e12, 1200e9, 1.1e15 / 4096, ("2x2x1", "2x2x2", "2x2x4", *SOLID[2:])),
    "v5e": Chip(15.75 * GIB, 197e12, 819e9, 400e9 / 2, FLAT),
    "v5p": Chip(95.74 * GIB, 459e12, 2765e9, 1200e9 / 2, SOLID),
    "v6e": Chip(31.25 * GIB, 918e12, 1638e9, 800e9 / 2, FLAT),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as v5e:4x4. Raises UserError, listing what there is, where there is no such slice."""
    name, _, slice_ = topology.partition(":")
    if name not in CHIPS:
        raise UserError(f"--topology {topology}: no such TPU; there are {', '.join(CHIPS)}, as in v5e:4x4")
    if slice_ not in (slices := CHIPS[name].slices):
        raise UserError(f"--topology {topology}: {name} comes as {', '.join(f'{name}:{s}' for s in slices)}")
    return CHIPS[name]

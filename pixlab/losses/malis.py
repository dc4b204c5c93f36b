"""MALIS: affinities of neighbouring pixels learnt by what they do to segments.

Turaga, Briggman, Helmstaedter, Denk & Seung, "Maximin affinity learning of image segmentation", NIPS 2009 (arXiv
0911.5372); Funke et al., "Large Scale Image Segmentation with Structured Loss Based Deep Learning for Connectome
Reconstruction", TPAMI 2019 (arXiv 1709.02974) for the constrained one, and TuragaLab's malis.

Two pixels are in one segment if a path of high affinities joins them. How high is decided by one edge: the lowest of
the best path, which is on the maximum spanning tree. An edge's weight is the number of pairs that it decides. Here all
pairs count, as in the release, where the paper draws some; the loss is the square without the paper's margin.

The tree is found on the host, anew at each step, without gradient: some two seconds of one core for 512x512 pixels. Of
equal affinities the first edge goes first.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int64, Integer, Real
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from pixlab.errors import UserError
from pixlab.nn.on_host import on_host

Offsets = Sequence[Sequence[int]]


def nearest(dimensions: int) -> Offsets:
    """The offsets to the neighbour before, along each axis: (-1, 0), (0, -1) of two."""
    return tuple(tuple(-int(axis == k) for axis in range(dimensions)) for k in range(dimensions))


def affinities(label: Int[Array, "b *size 1"], offsets: Offsets | None = None) -> Float[Array, "b *size e"]:
    """1 where a pixel and the one at each of the `offsets` from it have the same label, which is not 0; else 0.

    Outside the picture every label is 0. Without `offsets` they are `nearest`.
    """
    label = label[..., 0]
    offsets = nearest(label.ndim - 1) if offsets is None else offsets
    same = [(label == other) & (label != 0) for other in (_shifted(label, offset) for offset in offsets)]
    return jnp.stack(same, -1).astype(jnp.float32)


def lower_of_two(inside: Float[Array, "b h w 1"]) -> Float[Array, "b h w 2"]:
    """Affinities for the `nearest` offsets of a map of probabilities to be in an object: the lower one of each two."""
    neighbours = [jnp.roll(inside, 1, axis) for axis in (1, 2)]  # what comes from the other side is in no edge
    return jnp.minimum(inside, jnp.concatenate(neighbours, axis=-1))


def malis_loss(
    affinity: Float[Array, "b *size e"],
    label: Int[Array, "b *size 1"],
    valid: Float[Array, "b *size 1"] | None = None,
    *,
    offsets: Offsets | None = None,
    constrained: bool = True,
) -> Float[Array, ""]:
    """Mean over images of the sum over edges of w+ (1 - A)^2 + w- A^2, in two or three dimensions.

    affinity [b, *size, e] in [0, 1] belongs to the edges of each pixel to those at the `offsets` from it (`nearest`
    without any); label [b, *size, 1] is each pixel's object, 0 for background, which is in no pair. w+ counts the pairs
    of one object that an edge decides, w- those of two, see `malis_weights`. Pixels where `valid` is 0 are in no pair,
    and their edges have no weight. Without any pair the loss is 0. Raises UserError where the number of affinities is
    not that of offsets.
    """
    offsets = nearest(label.ndim - 2) if offsets is None else offsets
    if affinity.shape[-1] != len(offsets):
        raise UserError(f"{affinity.shape[-1]} affinities for {len(offsets)} offsets: give one for each")
    known = jnp.ones(label.shape) if valid is None else valid

    def weights(affinity, label, known):
        each = [
            malis_weights(*one, offsets, constrained=constrained)
            for one in zip(affinity, label[..., 0], known[..., 0] > 0, strict=True)
        ]
        return tuple(np.stack(kind) for kind in zip(*each, strict=True))

    shape = jax.ShapeDtypeStruct(affinity.shape, jnp.float32)
    together, apart = on_host(weights, (shape, shape), affinity, label, known)
    return jnp.sum(together * (1 - affinity) ** 2 + apart * affinity**2) / affinity.shape[0]


def malis_weights(
    affinity: Real[np.ndarray, "*size e"],
    label: Integer[np.ndarray, "*size"],
    known: np.ndarray,
    offsets: Offsets,
    *,
    constrained: bool = True,
) -> tuple[Float32[np.ndarray, "*size e"], Float32[np.ndarray, "*size e"]]:
    """What each edge of one picture weighs as one that should join (w+), and as one that should part (w-).

    Unconstrained, they are the numbers of pairs that it decides, divided by the number that all do: the loss is the
    mean over these pairs of (1 or 0 - maximin affinity)^2. Constrained, pairs of one object are counted after all edges
    have been cut that should part, so that no detour through another object helps, and those of two objects after all
    edges have been joined that should join; only edges of the first kind have w-, only those of the second w+, and each
    adds up to 1. Edges with an end where `known` [*size] is false are neither cut nor joined, and weigh nothing; pairs
    that they decide do not count.
    """
    label = np.where(known, label, 0)
    first, second, there = _grid_edges(label.shape, offsets)
    flat, edge = label.ravel(), affinity[there].astype(np.float64)
    counted = known.ravel()[first] & known.ravel()[second]
    if constrained:
        joins = (flat[first] == flat[second]) & (flat[first] != 0)
        together = maximin_pairs(np.where(counted & ~joins, -np.inf, edge), first, second, flat)[0] * (counted & joins)
        apart = maximin_pairs(np.where(counted & joins, np.inf, edge), first, second, flat)[1] * (counted & ~joins)
        wholes = together.sum(), apart.sum()
    else:
        together, apart = (pairs * counted for pairs in maximin_pairs(edge, first, second, flat))
        wholes = (together.sum() + apart.sum(),) * 2
    weights = np.zeros((2, *affinity.shape), np.float32)
    for weight, pairs, whole in zip(weights, (together, apart), wholes, strict=True):
        weight[there] = pairs / max(whole, 1)
    return weights[0], weights[1]


def maximin_pairs(
    affinity: Float[np.ndarray, " e"],
    first: Integer[np.ndarray, " e"],
    second: Integer[np.ndarray, " e"],
    label: Integer[np.ndarray, " n"],
) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """How many pairs of nodes of one label, and of two, each edge (first, second) decides; label 0 is in no pair.

    Edges are taken from the highest affinity to the lowest; one that joins two sets decides all pairs between them.
    """
    rank = np.empty(len(affinity))
    rank[np.argsort(-affinity, kind="stable")] = np.arange(1, len(affinity) + 1)  # no two alike, and none 0
    tree = minimum_spanning_tree(coo_matrix((rank, (first, second)), shape=(len(label),) * 2)).data
    chosen = np.argsort(rank)[np.sort(tree).astype(np.int64) - 1]
    parent = list(range(len(label)))
    bags = [{name: 1} if name else {} for name in label.tolist()]  # of each set, how many nodes of which label
    totals = [len(bag) for bag in bags]
    same, different = np.zeros((2, len(affinity)), np.int64)

    def root(node):
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for edge, a, b in zip(chosen.tolist(), first[chosen].tolist(), second[chosen].tolist(), strict=True):
        a, b = root(a), root(b)
        if len(bags[a]) < len(bags[b]):
            a, b = b, a
        large, small = bags[a], bags[b]
        alike = sum(count * large.get(name, 0) for name, count in small.items())
        same[edge], different[edge] = alike, totals[a] * totals[b] - alike
        for name, count in small.items():
            large[name] = large.get(name, 0) + count
        parent[b], totals[a] = a, totals[a] + totals[b]
        bags[b] = {}
    return same, different


def _grid_edges(size, offsets):
    """Both ends of each edge inside a grid, numbered in its order, and where [*size, e] such edges are."""
    places = np.indices(size)[..., None]  # [d, *size, 1]
    ends = places + np.asarray(offsets).T.reshape(len(size), *[1] * len(size), -1)
    limits = np.reshape(size, (-1, *[1] * (len(size) + 1)))
    there = ((ends >= 0) & (ends < limits)).all(0)
    numbers = np.arange(np.prod(size)).reshape(*size, 1)
    return np.broadcast_to(numbers, there.shape)[there], np.ravel_multi_index(tuple(ends[:, there]), size), there


def _shifted(label, offset):
    """label [b, *size] at `offset` from each pixel, 0 outside."""
    reach = [(0, 0)] + [(max(-step, 0), max(step, 0)) for step in offset]
    starts = [0] + [max(step, 0) for step in offset]
    return jax.lax.dynamic_slice(jnp.pad(label, reach), starts, label.shape)

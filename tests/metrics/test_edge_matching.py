"""Pairs of edge pixels against every possible pairing of tiny maps, an assignment of dense matrices, and by hand."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from pixlab.metrics.edge_matching import match_edges


def mask(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


def every_pairing(one, other, distance, partial=0.0, used=(), first=()):
    """(cost, pixels of one, pixels of other) of each one-to-one pairing."""
    if not one:
        yield partial, frozenset(first), frozenset(used)
        return
    head, *rest = one
    yield from every_pairing(rest, other, distance, partial, used, first)
    for candidate in other:
        apart = np.hypot(head[0] - candidate[0], head[1] - candidate[1])
        if candidate not in used and apart <= distance:
            saved = apart - 100 * distance
            yield from every_pairing(rest, other, distance, partial + saved, (*used, candidate), (*first, head))


@pytest.mark.parametrize("seed", range(12))
def test_every_pairing_of_tiny_maps(seed):
    rng = np.random.default_rng(seed)
    one, other = (rng.random((4, 5)) < 0.3 for _ in range(2))
    distance = [1.0, 1.5, 2.0, 2.3][seed % 4]
    places = [[tuple(p) for p in np.argwhere(x).tolist()] for x in (one, other)]
    pairings = list(every_pairing(*places, distance))
    least = min(cost for cost, *_ in pairings)
    best = {(a, b) for cost, a, b in pairings if cost <= least + 1e-9}
    found = tuple(frozenset(tuple(p) for p in np.argwhere(x).tolist()) for x in match_edges(one, other, distance))
    assert found in best


@pytest.mark.parametrize(("seed", "density"), [(0, 0.1), (1, 0.3), (2, 0.6)])
def test_as_many_pairs_as_a_dense_assignment(seed, density):
    """Larger maps, more than one batch: the solver of dense matrices pairs as many."""
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 30, 33)) < np.reshape([density, 0.2], (2, 1, 1))
    apart = cdist(np.argwhere(one), np.argwhere(other))
    cost = np.where(apart <= 2.5, apart, 250)
    rows, columns = linear_sum_assignment(cost)
    pairs = (cost[rows, columns] < 250).sum()
    matched = match_edges(one, other, 2.5)
    assert matched[0].sum() == matched[1].sum() == pairs
    assert not (matched[0] & ~one).any() and not (matched[1] & ~other).any()


def test_dilation_would_be_optimistic():
    """Two lines beside one: all of both are near it, but one line excuses one."""
    one = mask("#####", ".....", "#####")
    other = mask(".....", "#####", ".....")
    near = np.array([[any(other[max(r - 1, 0) : r + 2, c]) for c in range(5)] for r in range(3)])
    assert (one & near).sum() == 10
    edges, true = match_edges(one, other, 1.0)
    assert edges.sum() == 5 and true.sum() == 5


def test_more_pairs_go_before_nearer_ones():
    """A B in one, C D in other, A-C 2, B-C 0, B-D 2: B leaves C, that lies on it, to A."""
    one, other = mask("#.#.."), mask("..#.#")
    edges, true = match_edges(one, other, 2.0)
    np.testing.assert_array_equal(edges, one)
    np.testing.assert_array_equal(true, other)
    edges, true = match_edges(one, other, 1.9)
    np.testing.assert_array_equal(edges, mask("..#.."))
    np.testing.assert_array_equal(true, mask("..#.."))


def test_the_nearest_of_several_and_the_largest_distance():
    np.testing.assert_array_equal(match_edges(mask("#.#"), mask(".#."), 1.0)[1], mask(".#."))
    np.testing.assert_array_equal(match_edges(mask("#..#"), mask("..#."), 2.0)[0], mask("...#"))
    corner = mask("#...", "....", "....", "...."), mask("....", "....", "....", "...#")
    assert match_edges(*corner, 4.3)[0].any() and not match_edges(*corner, 4.2)[0].any()


def test_equal_maps_pair_whole_and_empty_ones_with_nothing():
    one = np.random.default_rng(0).random((20, 20)) < 0.4
    for distance in (0.0, 3.0):
        for matched in match_edges(one, one, distance):
            np.testing.assert_array_equal(matched, one)
    for pair in ((one, np.zeros_like(one)), (np.zeros_like(one), one)):
        assert not any(matched.any() for matched in match_edges(*pair, 3.0))

"""People from perfect maps and fields, and each part of the decoding against its definition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from pixlab.losses.part_affinity import affinity_fields, confidence_maps
from pixlab.nn.affinity_decode import assemble, decode, limb_scores, line_samples
from pixlab.nn.assignment import greedy_pairs
from pixlab.nn.peaks import local_peaks

# nose, neck, two shoulders, two elbows, two hips
LIMBS = ((1, 0), (1, 2), (1, 3), (2, 4), (3, 5), (1, 6), (1, 7))
BODY = np.array([[0, -4], [0, 0], [-4, 1], [4, 1], [-5, 7], [5, 7], [-2.5, 10], [2.5, 10]], np.float32)
SIZE = (40, 60)
SIGMA, WIDTH = 1.3, 1.0
run = jax.jit(lambda maps, fields: decode(maps, fields, LIMBS))


def targets(people):
    """Perfect maps without the background and fields of people [p, k, 2], NaN for a missing joint."""
    places = jnp.asarray(people, jnp.float32)[None]
    known = jnp.isfinite(places).all(-1).astype(jnp.float32)
    maps = confidence_maps(places, known, SIZE, SIGMA)[..., :-1]
    return maps, affinity_fields(places, known, SIZE, LIMBS, WIDTH)


def same(people, truth, tolerance=0.1):
    """`people` of one picture are those of `truth` [p, k, 2], each once, with the same joints."""
    values, places = np.asarray(people.values[0]), np.asarray(people.places[0])
    there = values.any(1)
    assert there.sum() == len(truth) and not there[len(truth) :].any()
    left = list(range(len(truth)))
    for at, found in zip(places[there], values[there] > 0, strict=True):
        close = [i for i in left if np.allclose(at[found], truth[i][found], atol=tolerance)]
        assert len(close) == 1 and np.array_equal(found, np.isfinite(truth[close[0]]).all(-1))
        left.remove(close[0])


def crossing():
    """Two people side by side whose arms of the same side cross, each elbow where the other one's would be."""
    a, b = BODY + np.array([16, 14]), BODY + np.array([32.3, 15.4])
    a[5], b[5] = (36, 23), (24, 24.2)
    return np.stack([a, b])


def missing():
    people = np.stack([BODY + np.array([14.2, 15.1]), BODY + np.array([42.7, 14.8])])
    people[0, 4] = people[1, 0] = people[1, 7] = np.nan
    return people


PLANTED = {
    "nobody": np.zeros((0, 8, 2)),
    "one": BODY[None] + np.array([30.4, 12.6]),
    "two": BODY[None] + np.array([[[16.0, 14]], [[40.4, 15.3]]]),
    "crossing": crossing(),
    "missing": missing(),
    "three": BODY[None] + np.array([[[10.2, 14]], [[28.7, 20.3]], [[48, 12.5]]]),
    "four": 0.8 * BODY[None] + np.array([[[8, 8.3]], [[23.4, 15]], [[38, 8.6]], [[52, 22.2]]]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_people_are_recovered_from_perfect_targets(name):
    people = PLANTED[name]
    if not len(people):
        found = run(jnp.zeros((1, *SIZE, 8)), jnp.zeros((1, *SIZE, 14)))
        assert not found.values.any() and not found.places.any() and not found.score.any()
        return
    found = run(*targets(people))
    assert found.places.shape == (1, 8, 8, 2) and (np.diff(found.score[0]) <= 0).all()
    same(found, people)


def test_crossing_limbs_cross():
    """So that the test above says something: each elbow is nearer to the other one's shoulder."""
    (a, elbow_a), (b, elbow_b) = crossing()[:, [3, 5]]
    place = np.linalg.solve(np.stack([elbow_a - a, b - elbow_b], 1), b - a)
    assert (place > 0).all() and (place < 1).all()
    assert np.linalg.norm(elbow_a - b) < np.linalg.norm(elbow_a - a)
    assert np.linalg.norm(elbow_b - a) < np.linalg.norm(elbow_b - b)


def test_without_the_fields_nobody_is_put_together():
    maps, fields = targets(crossing())
    assert not run(maps, jnp.zeros_like(fields)).values.any()
    assert not run(maps, -fields).values.any()  # limbs have a direction


def test_a_picture_does_not_see_its_batch():
    both = [targets(PLANTED[name]) for name in ("crossing", "three")]
    together = run(*(jnp.concatenate(pair) for pair in zip(*both, strict=True)))
    for row, one in enumerate(both):
        for left, right in zip(together, run(*one), strict=True):
            np.testing.assert_allclose(left[row], right[0], rtol=1e-5, atol=1e-5)


def test_more_people_than_asked_for():
    maps, fields = targets(PLANTED["four"])
    two = decode(maps, fields, LIMBS, people=2)
    four = run(maps, fields)
    for left, right in zip(two, four, strict=True):
        np.testing.assert_allclose(left, right[:, :2], rtol=1e-6)


def test_a_limb_alone_is_nobody():
    one = np.full((1, 8, 2), np.nan)
    one[0, 1], one[0, 0] = (20, 14), (20, 8)
    maps, fields = targets(one)
    assert not run(maps, fields).values.any()
    same(decode(maps, fields, LIMBS, least_joints=2), one)


def test_fields_that_do_not_fit():
    with pytest.raises(ValueError, match="7 limbs have fields of 14 channels, not of 12"):
        decode(jnp.zeros((1, 8, 8, 8)), jnp.zeros((1, 8, 8, 12)), LIMBS)


def test_local_peaks_against_a_loop():
    rng = np.random.default_rng(0)
    maps = rng.random((2, 9, 11, 3)).astype(np.float32)
    maps[0, 3, 4:6, 0] = 2.0  # two equal neighbours are one peak
    places, values = local_peaks(jnp.asarray(maps), 6, 0.5, "none")
    for b, k in itertools.product(range(2), range(3)):
        one = maps[b, :, :, k]
        expected = []
        for y, x in np.ndindex(one.shape):
            around = [
                (one[v, u], (v, u) < (y, x))
                for v in range(max(0, y - 1), min(9, y + 2))
                for u in range(max(0, x - 1), min(11, x + 2))
                if (v, u) != (y, x)
            ]
            if one[y, x] > 0.5 and all(one[y, x] > n if before else one[y, x] >= n for n, before in around):
                expected.append((one[y, x], x, y))
        expected = sorted(expected, reverse=True)[:6]
        np.testing.assert_array_equal(values[b, : len(expected), k], [v for v, *_ in expected])
        np.testing.assert_array_equal(places[b, : len(expected), k], [at for _, *at in expected])
        assert not values[b, len(expected) :, k].any()


def test_peaks_are_found_to_less_than_a_cell():
    truth = np.array([[5.3, 7.2], [20.6, 30.4]], np.float32)
    places = jnp.asarray(truth)[None, :, None]
    maps = confidence_maps(places, jnp.ones((1, 2, 1)), SIZE, SIGMA)[..., :1]
    found, values = local_peaks(maps, 4, 0.1)
    found = np.asarray(found[0, :, 0])[np.asarray(values[0, :, 0]) > 0]
    np.testing.assert_allclose(sorted(found.tolist()), truth, atol=5e-3)


def test_more_peaks_asked_for_than_there_are_cells():
    places, values = local_peaks(jnp.full((1, 2, 2, 1), 0.5), 6, 0.1)
    assert places.shape == (1, 6, 1, 2) and values[0, :, 0].tolist() == [0.5, 0, 0, 0, 0, 0]


def test_line_samples_against_scipy():
    rng = np.random.default_rng(1)
    field = rng.normal(size=(12, 15, 2)).astype(np.float32)
    start, end = rng.uniform(0, 11, (3, 2)).astype(np.float32), rng.uniform(0, 11, (4, 2)).astype(np.float32)
    samples = line_samples(*map(jnp.asarray, (field, start, end)))
    assert samples.shape == (3, 4, 10)
    for i, j in itertools.product(range(3), range(4)):
        at = np.linspace(start[i], end[j], 10)
        x, y = (ndimage.map_coordinates(field[..., c], at[:, ::-1].T, order=1, mode="nearest") for c in (0, 1))
        unit = (end[j] - start[i]) / np.linalg.norm(end[j] - start[i])
        np.testing.assert_allclose(samples[i, j], x * unit[0] + y * unit[1], atol=2e-5)


def test_candidates_at_one_place_are_no_limb():
    field, at = jnp.ones((6, 6, 2)), jnp.asarray([[2.0, 3.0]])
    assert not line_samples(field, at, at).any() and limb_scores(field, at, at).tolist() == [[0.0]]


def test_limb_scores_by_hand():
    """A field to the right of 0.5 in columns 0 to 7; half the height is 5."""
    field = jnp.zeros((10, 30, 2)).at[:, :8, 0].set(0.5)
    start = jnp.asarray([[0.0, 4.0]])
    ends = jnp.asarray([[4.0, 4.0], [7.0, 4.0], [9.0, 4.0], [10.0, 4.0], [0.0, 8.0], [20.0, 4.0]])
    found = np.asarray(limb_scores(field, start, ends))[0]
    # to 9: samples at 0 to 9, of which 8 (0 to 7) pass, and 8 of 10 are not more than 80 per cent
    np.testing.assert_allclose(found, [0.5, 0.5 + 5 / 7 - 1, 0, 0, 0, 0], atol=1e-6)
    full = jnp.zeros((10, 30, 2)).at[:, :, 0].set(0.5)
    np.testing.assert_allclose(
        limb_scores(full, start, ends)[0], [0.5, 0.5 + 5 / 7 - 1, 0.5 + 5 / 9 - 1, 0, 0, 0], atol=1e-6
    )


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (5, 2)])
def test_greedy_pairs_against_its_definition(shape):
    """All pairs from the best to the worst; one counts if neither of its two is taken."""
    for seed in range(20):
        score = np.random.default_rng(seed).normal(0.3, 1, shape).astype(np.float32)
        expected, columns = np.full(shape[0], -1), set()
        for row, column in sorted(np.ndindex(shape), key=lambda at: -score[at]):
            if score[row, column] > 0 and expected[row] < 0 and column not in columns:
                expected[row] = column
                columns.add(column)
        np.testing.assert_array_equal(greedy_pairs(jnp.asarray(score)), expected)


def test_greedy_is_not_optimal():
    """0.9 + 0.1 is taken, though 0.8 + 0.8 would be more."""
    assert greedy_pairs(jnp.asarray([[0.9, 0.8], [0.8, 0.1]])).tolist() == [0, 1]


def test_people_with_a_joint_in_common_stay_two():
    """Limbs in a circle: a-b, b-c, then c-a says that the first person's c is the second one's, who has a c."""
    partner = jnp.asarray([[0, 1], [0, 1], [1, -1]])
    label = assemble(partner, ((0, 1), (1, 2), (2, 0)), 3)
    assert (label[:, 0] == label[0, 0]).all() and (label[:, 1] == label[0, 1]).all() and label[0, 0] != label[0, 1]
    label = assemble(jnp.asarray([[0, -1], [-1, -1], [0, -1]]), ((0, 1), (1, 2), (2, 0)), 3)  # a-b and c-a alone
    assert (label[:, 0] == label[0, 0]).all() and len(set(label[:, 1].tolist())) == 3

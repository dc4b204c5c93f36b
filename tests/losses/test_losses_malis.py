"""Weights against the best path of every pair, losses and gradients by hand and by differences, and what it learns."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label as parts

from pixlab.errors import UserError
from pixlab.losses.malis import affinities, malis_loss, malis_weights, maximin_pairs, nearest


def quick(f):
    """`f` compiled without effort, its results as NumPy's."""
    compiled = jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})
    return lambda *inputs: jax.tree.map(np.asarray, compiled(*inputs))


def maximin(edges, n):
    """The highest lowest affinity over all paths between all pairs of nodes, as Floyd and Warshall."""
    best = np.full((n, n), -np.inf)
    for a, i, j in edges:
        best[i, j] = best[j, i] = max(best[i, j], a)
    for k, i, j in itertools.product(range(n), repeat=3):
        best[i, j] = max(best[i, j], min(best[i, k], best[k, j]))
    return best


def decided(edges, label):
    """For each edge how many pairs of one label, and of two, have its affinity as their maximin affinity."""
    best = maximin(edges, len(label))
    counts = np.zeros((2, len(edges)), int)
    for i, j in itertools.combinations(range(len(label)), 2):
        if label[i] and label[j] and best[i, j] > -np.inf:
            (edge,) = (e for e, (a, _, _) in enumerate(edges) if a == best[i, j])
            counts[int(label[i] != label[j]), edge] += 1
    return counts


def grid(height, width):
    """Ends of the edges of a grid in the order of [height, width, 2] affinities, and whether they are inside."""
    ends = []
    for r, c in itertools.product(range(height), range(width)):
        ends += [((r - 1) * width + c, r > 0, r * width + c), (r * width + c - 1, c > 0, r * width + c)]
    return [(here, there, inside) for there, inside, here in ends]


@pytest.mark.parametrize("seed", range(6))
def test_weights_are_the_pairs_whose_best_path_has_the_edge(seed):
    rng = np.random.default_rng(seed)
    n, some = 9, list(itertools.combinations(range(9), 2))
    ends = rng.permutation(some)[: [12, 20, 36][seed % 3]]
    affinity, label = rng.random(len(ends)), rng.integers(0, 4, n)
    expected = decided([(a, *e) for a, e in zip(affinity, ends.tolist(), strict=True)], label)
    np.testing.assert_array_equal(maximin_pairs(affinity, ends[:, 0], ends[:, 1], label), expected)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_weights_of_a_grid(seed, constrained):
    """By the definition: constrained, edges that should part are cut, or those that should join are joined, before."""
    rng = np.random.default_rng(seed)
    affinity, label = rng.random((4, 4, 2)), rng.integers(0, 3, (4, 4))
    ends, flat = grid(4, 4), label.ravel()
    joins = np.array([inside and flat[i] == flat[j] != 0 for i, j, inside in ends])

    def count(values):
        edges = [(v, i, j) for v, (i, j, inside) in zip(values, ends, strict=True) if inside]
        counts = np.zeros((2, len(ends)), int)
        counts[:, [inside for *_, inside in ends]] = decided(edges, flat)
        return counts

    values, little = affinity.ravel(), 1e-3 * affinity.ravel()  # without ties among what is cut or joined
    if constrained:
        together = count(np.where(joins, values, little - 1))[0] * joins
        apart = count(np.where(joins, little + 1, values))[1] * ~joins
        together, apart = together / max(together.sum(), 1), apart / max(apart.sum(), 1)
    else:
        together, apart = count(values)
        assert together.sum() + apart.sum() == np.count_nonzero(flat) * (np.count_nonzero(flat) - 1) / 2
        together, apart = (x / (np.count_nonzero(flat) * (np.count_nonzero(flat) - 1) / 2) for x in (together, apart))
    found = malis_weights(affinity, label, np.ones((4, 4), bool), nearest(2), constrained=constrained)
    np.testing.assert_allclose(found[0].ravel(), together, rtol=1e-6)
    np.testing.assert_allclose(found[1].ravel(), apart, rtol=1e-6)


LINE = jnp.array([0.6, 0.3, 0.8]).reshape(1, 1, 3, 1)  # of each pixel to the one before; the first has none
LABEL = jnp.array([1, 1, 2]).reshape(1, 1, 3, 1)


@pytest.mark.parametrize(
    ("constrained", "loss", "gradient"),
    [
        # 0.8 decides 2-3, to part; then 0.3 decides 1-2, to join, and 1-3, to part: the mean of .64, .49 and .09
        (False, 1.22 / 3, [0, (-1.4 + 0.6) / 3, 1.6 / 3]),
        # 1-2 joins by 0.3 alone; with 1 and 2 joined 0.8 decides 1-3 and 2-3: a weight of 1 for each kind
        (True, 0.49 + 0.64, [0, -1.4, 1.6]),
    ],
)
def test_three_pixels_by_hand(constrained, loss, gradient):
    one = jax.value_and_grad(lambda a: malis_loss(a, LABEL, offsets=[(0, -1)], constrained=constrained))
    value, slope = quick(one)(LINE)
    assert float(value) == pytest.approx(loss)
    np.testing.assert_allclose(slope.ravel(), gradient, atol=1e-6)


def test_a_detour_through_another_object_is_no_help():
    """Pixels 1, 2, 1, 1 in a ring (2x2): between the two ends of the upper row runs a low edge and a high detour."""
    label = jnp.array([[1, 1], [2, 1]]).reshape(1, 2, 2, 1)
    affinity = np.zeros((1, 2, 2, 2), np.float32)
    affinity[0, 0, 1, 1], affinity[0, 1, 0, 0], affinity[0, 1, 1] = 0.1, 0.9, [0.7, 0.8]
    slope = {c: quick(jax.grad(lambda a, c=c: malis_loss(a, label, constrained=c)))(affinity)[0] for c in (True, False)}
    assert slope[True][0, 1, 1] < 0  # the low edge is told to rise
    assert slope[False][0, 1, 1] == 0  # where the best path is the detour, that edge decides nothing


@pytest.mark.parametrize("constrained", [False, True])
def test_gradient_is_that_of_differences(constrained):
    rng = np.random.default_rng(3)
    affinity = rng.permutation(np.linspace(0.05, 0.95, 96)).reshape(2, 4, 6, 2).astype(np.float32)
    label = rng.integers(0, 3, (2, 4, 6, 1)).astype(np.int32)
    with_slope = quick(jax.value_and_grad(lambda a, x: malis_loss(a, x, constrained=constrained)))
    slope = with_slope(affinity, label)[1]

    def loss(a):
        return with_slope(a, label)[0]

    for at in [(0, 1, 2, 0), (0, 3, 5, 1), (1, 2, 2, 0), (1, 0, 3, 1), (1, 3, 1, 0)]:
        step = np.zeros_like(affinity)
        step[at] = 4e-3  # the next affinity is 9e-3 away: the tree stays
        difference = (loss(affinity + step) - loss(affinity - step)) / 8e-3
        assert float(difference) == pytest.approx(float(slope[at]), abs=1e-4)
    one, two = (with_slope(affinity[k : k + 1], label[k : k + 1])[0] for k in (0, 1))
    assert float(loss(affinity)) == pytest.approx((float(one) + float(two)) / 2, rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_affinities_pixel_by_pixel(shape):
    label = np.random.default_rng(0).integers(0, 3, shape)
    offsets = (*nearest(len(shape)), (2, *[-1] * (len(shape) - 1)))
    every = quick(lambda x: (affinities(x, offsets)[0], affinities(x)[0]))
    found, near = every(label[None, ..., None])
    for place in np.ndindex(shape):
        for k, offset in enumerate(offsets):
            other = tuple(p + o for p, o in zip(place, offset, strict=True))
            inside = all(0 <= p < n for p, n in zip(other, shape, strict=True))
            assert found[(*place, k)] == (inside and label[place] == label[other] != 0)
    np.testing.assert_array_equal(near, found[..., : len(shape)])
    assert nearest(3) == ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


def test_three_dimensions_are_planes_when_planes_are_unknown_to_one_another():
    """Of a volume all of whose edges between planes are 0, one object per plane: the planes' own losses, weighted."""
    rng = np.random.default_rng(0)
    plane = np.ones((1, 4, 5, 1), int)
    affinity = rng.random((1, 4, 5, 2)).astype(np.float32)
    loss = quick(malis_loss)
    flat = loss(affinity, plane)
    volume = np.zeros((1, 2, 4, 5, 3), np.float32)
    volume[:, :, ..., 1:] = affinity[:, None]
    label = np.stack([plane, 2 * plane], 1)
    assert float(loss(volume, label)) == pytest.approx(float(flat), rel=1e-5)


def test_what_is_unknown_weighs_nothing():
    rng = np.random.default_rng(0)
    affinity = rng.random((1, 5, 6, 2)).astype(np.float32)
    label, valid = rng.integers(1, 3, (1, 5, 6, 1)).astype(np.int32), np.ones((1, 5, 6, 1), np.float32)
    valid[0, 2] = 0
    loss = quick(jax.value_and_grad(malis_loss))
    value, slope = loss(affinity, label, valid)
    assert not slope[0, 2].any() and not slope[0, 3, :, 0].any() and slope[0, 3, :, 1].any()
    other = np.where(valid > 0, label, 1)
    assert (other != label).any() and loss(affinity, other, valid)[0] == value  # whatever is drawn there
    for nothing in ((label, 0 * valid), (0 * label, valid)):
        value, slope = loss(affinity, *nothing)
        assert value == 0 and not slope.any()


def test_several_devices_weigh_as_one():
    rng = np.random.default_rng(0)
    affinity = rng.random((2, 4, 5, 2)).astype(np.float32)
    label = rng.integers(0, 3, (2, 4, 5, 1)).astype(np.int32)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    loss = quick(jax.value_and_grad(malis_loss))
    expected, found = loss(affinity, label), loss(*jax.device_put((affinity, label), spread))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), expected, found)


def test_it_learns_to_part_and_to_join():
    """Steps downhill from noise: the parts that affinities above one half make become the objects."""
    label = np.zeros((7, 9), int)
    label[:, :4], label[:3, 5:], label[4:, 5:] = 1, 2, 3
    slope = quick(jax.grad(lambda z: malis_loss(jax.nn.sigmoid(z), jnp.asarray(label)[None, ..., None])))
    z = np.random.default_rng(0).normal(size=(1, 7, 9, 2)).astype(np.float32)
    for _ in range(300):
        z -= 0.5 * np.sign(slope(z))
    cut = z[0] > 0
    fine = np.zeros((13, 17), bool)  # pixels, and between them edges
    fine[::2, ::2] = True
    fine[1::2, ::2], fine[::2, 1::2] = cut[1:, :, 0], cut[:, 1:, 1]
    found = parts(fine)[0][::2, ::2]
    for name in (1, 2, 3):
        (one,) = np.unique(found[label == name])
        assert not (found[(label != name) & (label != 0)] == one).any()


def test_a_number_of_affinities_that_is_not_that_of_offsets_says_so():
    with pytest.raises(UserError, match="3 affinities for 2 offsets"):
        malis_loss(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 4, 4, 1), jnp.int32))

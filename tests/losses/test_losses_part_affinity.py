"""Maps, fields and their loss against loops."""

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.losses.part_affinity import affinity_fields, affinity_loss, confidence_maps

LIMBS = ((0, 1), (2, 1))
SIZE, SIGMA, WIDTH = (11, 14), 1.4, 0.8


def people():
    """Two pictures of three people with three joints; the second picture's last person is not there."""
    rng = np.random.default_rng(3)
    places = rng.uniform((0, 0), (13, 10), (2, 3, 3, 2)).astype(np.float32)
    known = np.ones((2, 3, 3), np.float32)
    known[0, 1, 2] = known[1, 2] = 0
    places[1, 2] = np.nan
    places[0, 2, :2] = (2, 3), (11, 8)  # two people's first limbs cross
    places[0, 0, :2] = (2, 8), (11, 3)
    return places, known


def test_maps_against_a_loop():
    places, known = people()
    maps = confidence_maps(jnp.asarray(places), jnp.asarray(known), SIZE, SIGMA)
    for b, y, x in np.ndindex(2, *SIZE):
        each = np.zeros(3)
        for p, k in np.ndindex(3, 3):
            if known[b, p, k]:
                each[k] = max(each[k], np.exp(-((places[b, p, k] - (x, y)) ** 2).sum() / SIGMA**2))
        np.testing.assert_allclose(maps[b, y, x], [*each, 1 - each.max()], atol=1e-5)


def test_fields_against_a_loop():
    places, known = people()
    fields = affinity_fields(jnp.asarray(places), jnp.asarray(known), SIZE, LIMBS, WIDTH)
    assert fields.shape == (2, *SIZE, 4)
    shared = 0
    for b, y, x, c in np.ndindex(2, *SIZE, 2):
        vectors = []
        for p in range(3):
            if known[b, p, LIMBS[c][0]] and known[b, p, LIMBS[c][1]]:
                start, end = (np.float64(places[b, p, joint]) for joint in LIMBS[c])
                unit = (end - start) / np.linalg.norm(end - start)
                away = np.array([x, y]) - start
                beside = abs(away @ [-unit[1], unit[0]])
                if 0 <= away @ unit <= np.linalg.norm(end - start) and beside <= WIDTH:
                    vectors.append(unit)
        shared += len(vectors) > 1
        expected = np.mean(vectors, 0) if vectors else np.zeros(2)
        np.testing.assert_allclose(fields[b, y, x, 2 * c : 2 * c + 2], expected, atol=1e-5)
    assert shared > 3


def test_a_limb_without_length_has_no_field():
    places = jnp.full((1, 1, 3, 2), 4.0)
    assert not affinity_fields(places, jnp.ones((1, 1, 3)), SIZE, LIMBS, WIDTH).any()


def test_the_loss_against_a_sum():
    rng = np.random.default_rng(0)
    maps, fields = (rng.normal(size=(2, 3, 4, 5, n)).astype(np.float32) for n in (3, 4))
    true_maps, true_fields = (rng.normal(size=(2, 4, 5, n)).astype(np.float32) for n in (3, 4))
    weight = rng.integers(0, 2, (2, 4, 5)).astype(np.float32)
    total = 0.0
    for b, t, y, x in np.ndindex(2, 3, 4, 5):
        total += weight[b, y, x] * ((maps[b, t, y, x] - true_maps[b, y, x]) ** 2).sum()
        total += weight[b, y, x] * ((fields[b, t, y, x] - true_fields[b, y, x]) ** 2).sum()
    given = tuple(map(jnp.asarray, (maps, fields, true_maps, true_fields, weight)))
    np.testing.assert_allclose(affinity_loss(*given), total / 2, rtol=1e-5)
    grad = jax.grad(affinity_loss)(*given)
    assert not np.asarray(grad)[np.broadcast_to(weight[:, None, ..., None] == 0, grad.shape)].any()

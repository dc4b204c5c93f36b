"""Normal scores against float64 numpy and SciPy's rotations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pixlab.metrics import crops
from pixlab.metrics.normals import BIN, angles, histogram_median, normal_metrics

normal_metrics = functools.cache(normal_metrics)  # one compilation per definition and shape
jit = functools.cache(jax.jit)


def score(metric, *pairs):
    stats = [jit(metric.stats)({"normal": jnp.asarray(p)}, g) for p, g in pairs]
    return metric.result(
        functools.reduce(metric.merge, (jax.tree.map(lambda x: np.asarray(x, float), s) for s in stats))
    )


def tilted(degrees):
    """Random normals [1, n, 3] and the same turned by these angles about random axes at right angles to them."""
    rng = np.random.default_rng(len(degrees))
    a = rng.normal(size=(len(degrees), 3))
    a /= np.linalg.norm(a, axis=-1, keepdims=True)
    axis = np.cross(a, rng.normal(size=a.shape))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    b = Rotation.from_rotvec(np.radians(degrees)[:, None] * axis).apply(a)
    return jnp.asarray(a[None], jnp.float32), jnp.asarray(b[None], jnp.float32)


def test_angles_of_known_rotations():
    degrees = np.array([0, 1e-3, 0.01, 1, 11.25, 45, 90, 135, 179, 179.999, 180])
    np.testing.assert_allclose(angles(*tilted(degrees))[0, :, 0], degrees, atol=2e-5)


def test_scores_of_known_rotations():
    degrees = np.random.default_rng(0).gamma(1.5, 15, 501).clip(0, 180)
    predicted, true = tilted(degrees)
    scores = score(
        normal_metrics(),
        (predicted[:, :200], {"normal": true[:, :200]}),
        (predicted[:, 200:], {"normal": true[:, 200:]}),
    )
    assert scores["mean"] == pytest.approx(degrees.mean(), rel=1e-5)
    assert scores["median"] == pytest.approx(np.median(degrees), abs=BIN)
    for limit in (11.25, 22.5, 30):
        assert scores[f"within_{limit:g}"] == pytest.approx(100 * (degrees < limit).mean(), abs=1e-9)
    assert list(scores) == ["mean", "median", "within_11.25", "within_22.5", "within_30"]


def test_an_angle_at_a_limit_is_not_within(monkeypatch):
    limits = np.float32([11.25, 22.5, 30])
    degrees = np.concatenate([np.nextafter(limits, np.float32(0)), limits])
    # given, not computed: the rounding of the arc tangent may differ between machines
    monkeypatch.setattr("pixlab.metrics.normals.angles", lambda a, b: jnp.asarray(degrees)[None, :, None])
    predicted, true = tilted(degrees)
    scores = score(normal_metrics.__wrapped__(), (predicted, {"normal": true}))
    shares = [scores[f"within_{limit:g}"] for limit in limits]
    np.testing.assert_allclose(shares, 100 * np.array([1, 3, 5]) / 6, rtol=1e-6)


def test_length_of_vectors_is_unseen_and_zero_is_ninety_degrees():
    predicted, true = tilted(np.array([5.0, 20, 70]))
    before = score(normal_metrics(), (predicted, {"normal": true}))
    assert score(normal_metrics(), (predicted * 7, {"normal": true * 0.2})) == pytest.approx(before, rel=1e-5)
    nothing = score(normal_metrics(), (0 * predicted, {"normal": true}))
    assert nothing["mean"] == pytest.approx(90)


def test_mask_and_crop():
    predicted, true = tilted(np.array([10.0, 20, 30, 40]))
    valid = jnp.array([1.0, 0, 0, 1]).reshape(1, 4, 1)
    assert score(normal_metrics(), (predicted, {"normal": true, "normal_valid": valid}))["mean"] == pytest.approx(25)
    holes = score(normal_metrics(), (predicted, {"normal": true * valid}))
    assert holes["mean"] == pytest.approx(25)
    left = crops.Crop(0, 1, 0, 2, 1, 4)
    assert score(normal_metrics(crop=left), (predicted, {"normal": true}))["mean"] == pytest.approx(15)
    nothing = score(normal_metrics(), (predicted, {"normal": 0 * true}))
    assert all(np.isnan(v) for v in nothing.values())


def test_small_predictions_are_resized():
    predicted, true = tilted(np.array([10.0, 20]))
    large = true.repeat(3, 0).repeat(2, 1)
    assert score(normal_metrics(), (predicted, {"normal": large}))["mean"] == pytest.approx(15, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 179.99), st.sampled_from([10.0, 50.0])), min_size=1, max_size=40))
def test_histogram_median_is_within_a_bin(values):
    counts, _ = np.histogram(np.floor(np.array(values) / BIN).astype(int), bins=18000, range=(0, 18000))
    assert histogram_median(counts.astype(float), BIN) == pytest.approx(np.median(values), abs=BIN + 1e-9)


def test_median_between_two_far_values():
    predicted, true = tilted(np.array([10.0, 10, 50, 50]))
    assert score(normal_metrics(), (predicted, {"normal": true}))["median"] == pytest.approx(30, abs=BIN)

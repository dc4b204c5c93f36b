"""Artefact measures against loops by hand, gratings whose share is known, and noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.metrics.artefacts import fine_variance, peak_energy, phase_variance, pure_phase_variance

jit = functools.partial(jax.jit, static_argnums=1)
phase, pure, peak, fine = map(jit, (phase_variance, pure_phase_variance, peak_energy, fine_variance))


def pattern(period, size=(48, 64), seed=0):
    """A random tile of this period, repeated: float32 [h, w, 1] without the mean of its cells of half the period."""
    tile = np.random.default_rng(seed).normal(size=(period, period))
    half = tile.reshape(2, period // 2, 2, period // 2).mean((0, 2))
    tile -= np.tile(half, (2, 2)) if period > 2 else tile.mean()
    return np.tile(tile, (size[0] // period, size[1] // period))[..., None].astype(np.float32)


def noise(size=(48, 64), seed=1, channels=1):
    return np.random.default_rng(seed).normal(size=(*size, channels)).astype(np.float32)


def loop(image, p):
    """The definition, in float64."""
    shares = []
    for channel in np.moveaxis(np.asarray(image, np.float64), -1, 0):
        h, w = (n // p * p for n in channel.shape)
        means = []
        for i in range(p):
            for j in range(p):
                pixels = [channel[y, x] for y in range(i, h, p) for x in range(j, w, p)]
                means.append(sum(pixels) / len(pixels))
        shares.append(np.var(means) / np.var(channel[:h, :w]))
    return np.mean(shares)


@pytest.mark.parametrize("size", [(12, 16), (13, 19)])
@pytest.mark.parametrize("period", [2, 3, 4])
def test_phase_variance_is_its_definition(size, period):
    image = noise(size, channels=2) + np.float32(5)
    assert float(phase(image, period)) == pytest.approx(loop(image, period), rel=1e-4)


def test_a_pattern_is_all_of_its_own_part():
    two, four = pattern(2), pattern(4)
    assert [float(phase(two, p)) for p in (2, 4)] == pytest.approx([1, 1], rel=1e-4)
    assert [float(pure(two, p)) for p in (2, 4)] == pytest.approx([1, 0], abs=1e-4)
    assert [float(pure(four, p)) for p in (2, 4, 8)] == pytest.approx([0, 1, 0], abs=1e-4)


def test_shares_of_a_sum_are_its_variances():
    """Patterns of variance 1 and 4 in noise of variance 15: 5 and 20 %, whatever is added to all pixels."""
    two, four, rest = (x / x.std() for x in (pattern(2), pattern(4), noise((48, 64))))
    rest = rest - np.tile(rest.reshape(12, 4, 16, 4, 1).mean((0, 2)), (12, 16, 1))  # no period of its own
    image = two + 2 * four + np.sqrt(np.float32(15)) * rest / rest.std() + 7
    assert [float(pure(image, p)) for p in (2, 4)] == pytest.approx([0.05, 0.2], rel=1e-4)


def test_parts_are_orthogonal():
    image = noise((48, 64), channels=3)
    parts = [float(pure(image, p)) for p in (2, 4, 8)]
    assert min(parts) > 0
    assert np.cumsum(parts) == pytest.approx([float(phase(image, p)) for p in (2, 4, 8)], rel=1e-4)


@pytest.mark.parametrize("period", [2, 4])
def test_noise_has_as_much_as_it_has_degrees_of_freedom(period):
    images = np.stack([noise((32, 48), seed) for seed in range(200)])
    found = jax.jit(jax.vmap(lambda image: phase_variance(image, period)))(images)
    assert float(found.mean()) == pytest.approx((period**2 - 1) / (32 * 48), rel=0.15)


def test_constant_images_have_none():
    for value in (0.0, 0.1, 1e6):
        image = np.full((9, 12, 2), value, np.float32)
        assert [float(f(image, 2)) for f in (phase, pure, fine)] == [0, 0, 0]
        assert float(peak(image, 2)) == pytest.approx(1)
    one_channel = np.concatenate([image[:8], pattern(2, (8, 12))], -1)
    assert float(phase(one_channel, 2)) == pytest.approx(1 / 3, rel=1e-4)


@pytest.mark.parametrize("period", [2, 4])
def test_peak_of_a_grating_in_noise(period):
    """Energy N^2 a^2 / 4 (period 2: N^2 a^2) of a cosine of amplitude a in each of the lines, against N of noise."""
    n, a = 64, 0.5
    rows = a * np.cos(2 * np.pi * np.arange(n) / period)[:, None, None]
    image = noise((n, n), seed=3) + rows.astype(np.float32)
    along = 1 + n * a**2 / (1 if period == 2 else 4)
    assert float(peak(image, period)) == pytest.approx((along + 1) / 2, rel=0.25)  # columns have the peak, rows have 1
    other = 6 - period
    assert float(peak(image, other)) == pytest.approx(1, rel=0.25)


def test_peak_sees_a_pattern_that_changes_along_the_other_axis():
    """Its sign turns every 8 columns: no phase mean is left, the peak is."""
    rows = np.where(np.arange(64) % 2, 1, -1)[:, None] * np.where(np.arange(64) // 8 % 2, 1, -1)
    image = rows[..., None].astype(np.float32) + noise((64, 64))
    assert float(phase(image, 2)) < 0.01 and float(peak(image, 2)) > 20


def test_peak_is_the_ratio_of_numpy_s_spectrum():
    image = noise((30, 42), channels=2)
    ratios = []
    for axis, n in ((0, 28), (1, 40)):
        energy = (np.abs(np.fft.fft(image[:28, :40], axis=axis)) ** 2).sum((1 - axis, 2))
        at = n // 4
        near = [energy[at + d] for d in (-4, -3, -2, -1, 1, 2, 3, 4)]
        ratios.append(energy[at] / np.median(near))
    assert float(peak(image, 4)) == pytest.approx(np.mean(ratios), rel=1e-4)


def test_what_is_inside_cells():
    ramp = np.tile(np.arange(48, dtype=np.float32)[:, None, None], (1, 64, 1))
    assert float(fine(ramp, 2)) == pytest.approx(0.25 / np.var(np.arange(48)), rel=1e-4)
    assert float(fine(pattern(2), 2)) == pytest.approx(1, rel=1e-4)
    assert float(fine(noise((128, 128)), 2)) == pytest.approx(3 / 4, rel=0.02)
    image = noise((12, 12))
    assert float(phase(image, 2)) < float(fine(image, 2))


@pytest.mark.parametrize("function", [phase_variance, pure_phase_variance, peak_energy, fine_variance])
def test_periods_that_do_not_fit(function):
    image = jnp.zeros((8, 6, 1))
    for period in (0, 8):
        with pytest.raises(ValueError, match="fit"):
            function(image, period)
    with pytest.raises(ValueError, match="half"):
        pure_phase_variance(image, 3)

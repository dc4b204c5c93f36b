"""PSNR and SSIM against published values, scikit-image and golden numbers of bicubic interpolation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pixlab.errors import UserError
from pixlab.metrics import fidelity as module
from pixlab.metrics.fidelity import comparable, div2k_protocol, edsr_protocol, fidelity, psnr, srcnn_protocol, ssim
from pixlab.nn.imresize import imresize

compiled = functools.cache(lambda stats: jax.jit(jax.vmap(stats)))


def score(metric, *pairs):
    """What the trainer does: statistics of one image under vmap and jit, merged in float64 on the host."""
    total = []
    for pair in pairs:
        prediction, example = ({"high": jnp.asarray(x, jnp.float32)[None]} for x in pair)
        total.append(jax.tree.map(lambda x: np.asarray(x[0], float), compiled(metric.stats)(prediction, example)))
    return metric.result(functools.reduce(metric.merge, total))


def wang(a, b, **options):
    """scikit-image's SSIM as Wang et al. set it."""
    wangs = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    return structural_similarity(a, b, **wangs | options)


def whole(x):
    return np.clip(np.floor(x + 0.5), 0, 255)


def y(rgb):
    return 16 + rgb @ np.array([65.481, 128.553, 24.966]) / 255


@pytest.fixture(scope="module")
def picture():
    i, j = np.mgrid[:48, :60]
    red, green = 128 + 90 * np.sin(i / 5) * np.cos(j / 7), 110 + 80 * np.cos((i + j) / 6)
    return whole(np.stack([red, green, 140 + 60 * np.sin((i - 2 * j) / 9)], -1))


def test_the_picture_is_that_of_the_golden_numbers(picture):
    assert picture[0, :2].tolist() == [[128, 190, 140], [128, 189, 127]]
    assert whole(y(picture))[0, :4].tolist() == [158, 157, 154, 150] and whole(y(picture)).sum() == 337989


@pytest.mark.parametrize(
    ("scale", "kept", "small_rounded", "edsr", "rgb", "unshaved", "similarity"),
    [
        (2, 58.7027, 55.1364, 57.1476, 55.6457, 52.9338, 0.999675),
        (3, 55.3728, 53.8841, 55.4755, 52.9328, 47.2692, 0.999437),
        (4, 51.2382, 50.7007, 51.0995, 47.5475, 43.0324, 0.998949),
    ],
)
def test_bicubic_by_each_protocol(picture, scale, kept, small_rounded, edsr, rgb, unshaved, similarity):
    near = functools.partial(pytest.approx, abs=1e-4)
    truth = whole(y(picture))[..., None]
    small = imresize(truth, 1 / scale)
    pair = (imresize(small, scale) / 255, truth / 255)
    metric = srcnn_protocol(scale)
    scores = score(metric, pair)
    assert scores["psnr"] == near(kept) and scores["ssim"] == pytest.approx(similarity, abs=1e-6)
    assert psnr(*comparable(*pair, 0, eight_bits=True), 255.0) == near(unshaved)
    coarse = (imresize(whole(small), scale) / 255, truth / 255)
    assert score(metric, coarse)["psnr"] == near(small_rounded)
    colours = (imresize(whole(imresize(picture, 1 / scale)), scale) / 255, picture / 255)
    assert score(edsr_protocol(scale), colours)["psnr"] == near(edsr)
    assert psnr(*comparable(*colours, scale, eight_bits=True), 255.0) == near(rgb)


def test_div2k_cuts_off_six_pixels_more_and_takes_one_error_over_channels(picture):
    noisy = whole(picture + np.random.default_rng(0).normal(0, (2, 5, 9), picture.shape))
    inner = (slice(8, -8), slice(8, -8))
    expected = peak_signal_noise_ratio(picture[inner], noisy[inner], data_range=255)
    scores = score(div2k_protocol(2), (noisy / 255, picture / 255))
    assert scores["psnr"] == pytest.approx(expected, abs=1e-4)
    assert scores["ssim"] == pytest.approx(wang(noisy[inner], picture[inner], channel_axis=-1), abs=1e-6)


@pytest.mark.parametrize("deviation", [0.002, 0.1])
@pytest.mark.parametrize("shape", [(11, 11, 1), (40, 33, 1), (33, 40, 3)])
def test_like_scikit_image_unrounded(shape, deviation):
    rng = np.random.default_rng(1)
    b = rng.random(shape, np.float32)
    b[: shape[0] // 2] = 0.92  # bright and flat: where float32 is least exact
    a = b + rng.normal(0, deviation, shape).astype(np.float32)
    high = [np.float64(x) * 255 for x in (a, b)]
    scores = score(fidelity(), (a, b))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(high[1], high[0], data_range=255), abs=1e-4)
    assert scores["ssim"] == pytest.approx(wang(*high, channel_axis=-1), abs=1e-5)
    assert score(fidelity(peak=255.0), high) == pytest.approx(scores, abs=1e-4)
    assert psnr(*high, 255.0) == pytest.approx(peak_signal_noise_ratio(high[1], high[0], data_range=255), rel=1e-12)
    assert ssim(*high, 255.0) == pytest.approx(wang(*high, channel_axis=-1), rel=1e-12)


def test_float32_keeps_its_digits_over_a_large_image():
    rng = np.random.default_rng(2)
    b = rng.integers(0, 256, (700, 1000, 3)) / 255
    a = b + rng.choice([-3, 1, 2], b.shape) / 255
    assert score(fidelity(), (a, b))["psnr"] == pytest.approx(psnr(a, b), abs=1e-4)


def test_luminance_is_made_of_rounded_colours_and_rounded_again():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (24, 30, 3))
    predicted = truth / 255 + rng.normal(0, 0.05, truth.shape)
    saved = whole(255 * np.float64(np.float32(predicted)))
    a, b = (whole(color.rgb2ycbcr(x / 255)[..., 0])[2:-2, 2:-2] for x in (saved, truth))
    scores = score(edsr_protocol(2), (predicted, truth / 255))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-4)
    assert scores["ssim"] == pytest.approx(wang(a, b), abs=1e-6)
    exact = [color.rgb2ycbcr(np.float64(np.float32(x)))[..., 0] for x in (predicted, truth / 255)]
    unrounded = score(fidelity(channel="luminance"), (predicted, truth / 255))
    assert unrounded["psnr"] == pytest.approx(peak_signal_noise_ratio(exact[1], exact[0], data_range=255), abs=1e-4)


def test_a_grey_truth_is_compared_as_it_is():
    rng = np.random.default_rng(4)
    grey, colours = rng.integers(0, 256, (20, 20, 1)) / 255, rng.integers(0, 256, (20, 20, 3)) / 255
    assert score(edsr_protocol(2), (colours, grey)) == score(srcnn_protocol(2), (colours[..., :1], grey))


def test_the_mean_is_of_images():
    rng = np.random.default_rng(5)
    truth = rng.random((2, 16, 16, 1))
    predicted = truth + rng.normal(size=truth.shape) * np.array([0.01, 0.2]).reshape(2, 1, 1, 1)
    pairs, metric = list(zip(predicted, truth, strict=True)), fidelity()
    each = [score(metric, pair) for pair in pairs]
    for name, value in score(metric, *pairs).items():
        assert value == pytest.approx((each[0][name] + each[1][name]) / 2, rel=1e-9)
    pooled = -10 * np.log10(np.mean((predicted - truth) ** 2))
    assert score(metric, *pairs)["psnr"] > pooled + 5


def test_what_rounds_to_the_truth_is_perfect():
    truth = np.random.default_rng(6).integers(0, 256, (16, 16, 1)) / 255
    near = truth + np.random.default_rng(7).uniform(-0.49, 0.49, truth.shape) / 255
    assert score(srcnn_protocol(2), (near, truth)) == {"psnr": np.inf, "ssim": 1}
    assert psnr(truth, truth) == np.inf


def test_ssim_sees_what_the_error_does_not():
    """Wang et al.'s figure: of distortions with one error, a shift of brightness is mild and noise is not."""
    rng = np.random.default_rng(8)
    truth = 128 + 60 * np.sin(np.mgrid[:64, :64].sum(0) / 3)[..., None]
    brighter, noisy = truth + 12, truth + 12 * rng.choice([-1, 1], truth.shape)
    assert psnr(brighter, truth, 255.0) == pytest.approx(psnr(noisy, truth, 255.0))
    assert ssim(brighter, truth, 255.0) > 0.98 > ssim(noisy, truth, 255.0)
    assert ssim(truth, brighter, 255.0) == pytest.approx(ssim(brighter, truth, 255.0), rel=1e-12)


def test_one_value_by_hand():
    """A constant image against another: 2ab + C1 over a^2 + b^2 + C1; one window alone has a mean and a variance."""
    a, b = np.full((12, 13, 1), 100.0), np.full((12, 13, 1), 120.0)
    c1, c2 = 2.55**2, 7.65**2
    assert ssim(a, b, 255.0) == pytest.approx((2 * 12000 + c1) / (10000 + 14400 + c1), rel=1e-9)
    assert psnr(a, b, 255.0) == pytest.approx(20 * np.log10(255 / 20))
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / 4.5)[..., None]
    weights /= weights.sum()
    a, b = np.random.default_rng(9).uniform(0, 255, (2, 11, 11, 1))
    ma, mb = (weights * a).sum(), (weights * b).sum()
    va, vb, c = ((weights * x).sum() for x in ((a - ma) ** 2, (b - mb) ** 2, (a - ma) * (b - mb)))
    expected = (2 * ma * mb + c1) * (2 * c + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert ssim(a, b, 255.0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("metric", "predicted", "true", "what"),
    [
        (fidelity(), (16, 16, 1), (16, 17, 1), "make them one size"),
        (fidelity(), (16, 16, 3), (16, 16, 1), "make them one size"),
        (fidelity(channel="luminance"), (16, 16, 2), (16, 16, 2), "3 channels, not 2"),
        (fidelity(8), (16, 30, 1), (16, 30, 1), "nothing is left of 16x30"),
        (fidelity(3), (16, 30, 1), (16, 30, 1), r"SSIM needs 11x11 .* got \(10, 24\)"),
    ],
)
def test_images_that_cannot_be_compared(metric, predicted, true, what):
    with pytest.raises(UserError, match=what):
        score(metric, (np.zeros(predicted), np.zeros(true)))


def test_unknown_channel():
    with pytest.raises(UserError, match="'as is', 'luminance'"):
        comparable(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), 0, channel="Y")


BICUBIC = {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}  # on Set5, as many papers have it


@pytest.mark.parametrize("scale", BICUBIC)
def test_set5(real_data, scale):
    """Real images: scikit-image's values, and the row of bicubic interpolation in the papers' tables."""
    metric, found = srcnn_protocol(scale), []
    for path in sorted((real_data / "superres" / "set5").iterdir()):
        truth = whole(y(np.asarray(Image.open(path).convert("RGB"), float)))[..., None]
        height, width = (n // scale * scale for n in truth.shape[:2])
        truth = truth[:height, :width]
        pair = (imresize(imresize(truth, 1 / scale), scale) / 255, truth / 255)
        a, b = comparable(*pair, scale, eight_bits=True)
        found.append((psnr(a, b, 255.0), ssim(a, b, 255.0)))
        if path.stem == "butterfly":
            assert scale != 3 or found[-1][0] == pytest.approx(24.04, abs=0.005)  # SRCNN's figure 1
            scores = score(metric, pair)
            assert tuple(scores.values()) == pytest.approx(found[-1], abs=1e-4)
            saved = [whole(255 * x)[scale:-scale, scale:-scale, 0] for x in pair]
            assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(*saved[::-1], data_range=255), abs=1e-4)
            assert scores["ssim"] == pytest.approx(wang(*saved), abs=1e-5)
    assert np.mean(found, 0) == pytest.approx(BICUBIC[scale], abs=0.006)
    assert np.mean(found, 0)[1] == pytest.approx(BICUBIC[scale][1], abs=6e-5)


def test_constants_are_wangs():
    assert (module.WINDOW, module.SIGMA, module.K1, module.K2) == (11, 1.5, 0.01, 0.03)

"""NIQE against its definition step by step, and against what it is for: telling photos from damaged ones."""

import math

import numpy as np
import pytest
import scipy.io
from PIL import Image

from pixlab.errors import UserError
from pixlab.metrics.niqe import SHARP, Prior, asymmetric_gaussian, features, fit, niqe
from pixlab.nn.imresize import imresize


def texture(seed, shape):
    """Something like a photo: a spectrum that falls as 1 / f, edges, values 0 to 255."""
    rng = np.random.default_rng(seed)
    f = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    f[0, 0] = 1
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) / f**1.2).real
    edges = np.sign(np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) / f**2).real)
    return np.floor(np.clip(128 + 30 * smooth / smooth.std() + 30 * edges, 0, 255) + 0.5)


def shape_by_search(x):
    """AGGD of a list of numbers: the release's grid, one shape after the other."""
    left = math.sqrt(sum(v * v for v in x if v < 0) / sum(v < 0 for v in x))
    right = math.sqrt(sum(v * v for v in x if v > 0) / sum(v > 0 for v in x))
    g = left / right
    r = (sum(abs(v) for v in x) / len(x)) ** 2 / (sum(v * v for v in x) / len(x))
    wanted = r * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    best, shape = math.inf, None
    for step in range(9801):
        a = 0.2 + step / 1000
        error = (math.gamma(2 / a) ** 2 / (math.gamma(1 / a) * math.gamma(3 / a)) - wanted) ** 2
        if error < best:
            best, shape = error, a
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    return shape, left * scale, right * scale


def by_hand(picture):
    """Features of each block, blocks row by row, everything else by loops over the definition."""
    rows, columns = (n // 96 for n in picture.shape)
    picture = np.asarray(picture[: 96 * rows, : 96 * columns], float)
    window = [[math.exp(-((i - 3) ** 2 + (j - 3) ** 2) / (2 * (7 / 6) ** 2)) for j in range(7)] for i in range(7)]
    window = np.array(window) / np.sum(window)
    found = [[] for _ in range(rows * columns)]
    for size in (96, 48):
        height, width = picture.shape
        padded, mean, square = np.pad(picture, 3, mode="edge"), 0, 0
        for i in range(7):
            for j in range(7):
                moved = padded[i : i + height, j : j + width]
                mean, square = mean + window[i, j] * moved, square + window[i, j] * moved**2
        contrast = (picture - mean) / (np.sqrt(np.abs(square - mean**2)) + 1)
        for index in range(rows * columns):
            top, left = index // columns * size, index % columns * size
            block = contrast[top : top + size, left : left + size].tolist()
            shape, bl, br = shape_by_search([v for row in block for v in row])
            found[index] += [shape, (bl + br) / 2]
            for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
                pairs = []
                for i in range(size):
                    for j in range(size):
                        pairs.append(block[i][j] * block[(i - down) % size][(j - across) % size])
                shape, bl, br = shape_by_search(pairs)
                found[index] += [shape, (br - bl) * math.gamma(2 / shape) / math.gamma(1 / shape), bl, br]
        picture = imresize(picture, 0.5)
    return np.array(found)


@pytest.fixture(scope="module")
def prior():
    return fit(texture(seed, (288, 288)) for seed in range(8))


def test_like_the_definition(prior):
    picture = texture(20, (110, 215))
    expected = by_hand(picture)
    found, sharpness = features(picture)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    assert sharpness.shape == (2,)
    mean = expected.mean(0)
    covariance = sum(np.outer(row - mean, row - mean) for row in expected) / (len(expected) - 1)
    d, between = prior.mean - mean, (prior.covariance + covariance) / 2
    assert niqe(picture, prior) == pytest.approx(math.sqrt(d @ np.linalg.solve(between, d)), rel=1e-6)


@pytest.mark.parametrize(("shape", "left", "right"), [(2, 1, 1), (1, 0.5, 2), (0.6, 0.02, 0.05), (4, 3, 1)])
def test_a_known_distribution_is_found(shape, left, right):
    rng = np.random.default_rng(0)
    count = 1_000_000
    size = rng.gamma(1 / shape, size=count) ** (1 / shape)  # of a density exp(-x^shape)
    side = np.where(rng.random(count) < left / (left + right), -left, right)
    found = asymmetric_gaussian((size * side)[None])
    assert np.concatenate(found) == pytest.approx([shape, left, right], rel=0.03)


def test_numbers_of_one_sign_have_no_shape():
    found = asymmetric_gaussian(np.array([[1.0, 2, 3], [-1, 1, 2], [0, 0, 0], [-1, -2, 0]]))
    assert np.isnan(found).tolist() == 3 * [[True, False, True, True]]


def test_blocks_without_structure_are_left_out(prior):
    picture = texture(21, (96, 480))
    picture[:, 176:] = 235.0
    found = features(picture)[0]
    assert np.isfinite(found).all(1).tolist() == [True, True, False, False, False]
    assert niqe(picture, prior) == niqe(picture[:, :192], prior)
    flat = np.full((200, 300), 0.1)  # whose means are not exactly 0.1
    with pytest.raises(UserError, match="fewer than two blocks"):
        niqe(flat, prior)


def test_only_sharp_blocks_make_the_prior():
    photo = texture(22, (288, 288))
    photo[96:192] = imresize(imresize(photo[96:192], 0.25), 4.0)
    found, sharpness = features(photo)
    chosen = [row for row, s in zip(found, sharpness, strict=True) if s > 0.75 * max(sharpness)]
    assert SHARP == 0.75 and 2 <= len(chosen) <= 6
    other = texture(23, (96, 96))
    chosen = np.array([*chosen, features(other)[0][0]])
    made = fit(iter([photo, other]))
    np.testing.assert_allclose(made.mean, chosen.mean(0))
    np.testing.assert_allclose(made.covariance, np.cov(chosen.T), atol=1e-12)


def test_damage_raises_the_score(prior):
    rng = np.random.default_rng(1)
    picture = texture(24, (288, 384))
    clean = niqe(picture, prior)
    noisy = [niqe(np.clip(picture + rng.normal(0, s, picture.shape), 0, 255), prior) for s in (10, 40)]
    blurred = [niqe(imresize(imresize(picture, 1 / s), s), prior) for s in (2, 4)]
    assert clean < noisy[0] < noisy[1] and clean < blurred[0] < blurred[1]


def test_photos(real_data):
    """A prior of BSDS500's training photos tells Set5 from noisy and from enlarged Set5."""

    def grey(path):
        return np.asarray(Image.open(path).convert("L"), float)

    prior = fit(grey(path) for path in sorted((real_data / "bsds500" / "train").glob("*.webp"))[:30])
    rng = np.random.default_rng(2)
    for path in sorted((real_data / "superres" / "set5").iterdir()):
        photo = grey(path)
        clean = niqe(photo, prior)
        assert clean < niqe(np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255), prior)
        assert clean < niqe(imresize(imresize(photo, 0.25), 4.0), prior)


def test_too_small():
    with pytest.raises(UserError, match=r"at least 96x96 pixels, got \(95, 300\)"):
        features(np.zeros((95, 300)))
    with pytest.raises(UserError, match="the photos: fewer than two"):
        fit([])


def test_priors_are_read_and_written(prior, tmp_path):
    prior.save(tmp_path / "prior.npz")
    scipy.io.savemat(tmp_path / "prior.mat", {"mu_prisparam": prior.mean[None], "cov_prisparam": prior.covariance})
    for name in ("prior.npz", "prior.mat"):
        for found, expected in zip(Prior.load(tmp_path / name), prior, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_files_that_are_no_prior(prior, tmp_path):
    with pytest.raises(UserError, match=r"no file .*fetch NIQE's modelparameters\.mat"):
        Prior.load(tmp_path / "none.mat")
    for name in ("text.mat", "text.npz"):
        (tmp_path / name).write_text("no weights, but more than a header would be: " + 200 * "x")
        with pytest.raises(UserError, match=r"neither MATLAB's \.mat"):
            Prior.load(tmp_path / name)
    scipy.io.savemat(tmp_path / "other.mat", {"pop_mu": prior.mean, "pop_cov": prior.covariance})
    with pytest.raises(UserError, match="has pop_mu, pop_cov instead of mu_prisparam and cov_prisparam"):
        Prior.load(tmp_path / "other.mat")
    np.savez(tmp_path / "short.npz", mu_prisparam=np.zeros(18), cov_prisparam=np.zeros((18, 18)))
    with pytest.raises(UserError, match="18 means"):
        Prior.load(tmp_path / "short.npz")

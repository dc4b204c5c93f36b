"""Dense CRF: the exact mean field against a double loop, the fast one against the exact, and what both must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter

from pixlab.errors import UserError
from pixlab.nn.dense_crf import NORMALISATIONS, Kernels, appearance_lattice, dense_crf, exact_dense_crf

KERNELS = Kernels(appearance=4.0, position_sigma=20.0, colour_sigma=8.0, smoothness=3.0, smoothness_sigma=3.0)


QUICK = {"xla_backend_optimization_level": 0}  # most of the time would be compiling
OPTIONS = ("kernels", "normalisation", "self_term", "iterations")
_exact = jax.jit(exact_dense_crf, static_argnames=OPTIONS, compiler_options=QUICK)
_fast = jax.jit(dense_crf, static_argnames=[o for o in OPTIONS if o != "self_term"], compiler_options=QUICK)


def fast(logits, image, kernels=KERNELS, **options):
    return _fast(logits, appearance_lattice(image, kernels), kernels=kernels, **options)


def exact(logits, image, kernels=KERNELS, **options):
    return _exact(logits, jnp.asarray(image), kernels=kernels, **options)


BOTH = pytest.mark.parametrize("crf", [exact, fast])


def random_problem(h=5, w=6, labels=3, seed=0):
    """Logits and an image of near colours, so that pixels count for one another."""
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.standard_normal((h, w, labels)), jnp.float32)
    return logits, (0.5 + rng.uniform(-0.05, 0.05, (h, w, 3))).astype(np.float32)


def photo_problem(photo, top, left, size=56):
    """A crop of a photo, and noisy logits of three labels that go by its brightness."""
    image = (photo[top : top + size, left : left + size] / 255).astype(np.float32)
    grey = image.mean(-1)
    label = np.digitize(grey, np.quantile(grey, [1 / 3, 2 / 3]))
    smooth = np.stack([gaussian_filter((label == k) * 1.0, 3) for k in range(3)], -1)
    noise = np.random.default_rng(0).standard_normal(smooth.shape)
    return jnp.asarray(3 * smooth + 0.7 * noise, jnp.float32), image


def by_loops(logits, image, kernels, normalisation, self_term, iterations):
    """Algorithm 1 of Krähenbühl & Koltun with Potts' compatibility as they write it: other labels cost."""
    h, w, labels = logits.shape
    places = [(y, x) for y in range(h) for x in range(w)]
    weights, parts = (kernels.appearance, kernels.smoothness), np.zeros((2, h * w, h * w))
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            far = (y - v) ** 2 + (x - u) ** 2
            other = sum((255 * float(a) - 255 * float(b)) ** 2 for a, b in zip(image[y, x], image[v, u], strict=True))
            if i != j or self_term:
                parts[0, i, j] = np.exp(-far / (2 * kernels.position_sigma**2) - other / (2 * kernels.colour_sigma**2))
                parts[1, i, j] = np.exp(-far / (2 * kernels.smoothness_sigma**2))
    unary = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).reshape(h * w, labels)
    q = np.exp(-unary)
    for _ in range(iterations):
        energy = unary.copy()
        for weight, k in zip(weights, parts, strict=True):
            d = [sum(k[i]) for i in range(h * w)]
            for i in range(h * w):
                for j in range(h * w):
                    part = k[i, j] / {
                        "none": 1, "before": d[j], "after": d[i], "symmetric": np.sqrt(d[i] * d[j])
                    }[normalisation]  # fmt: skip
                    for label in range(labels):
                        energy[i, label] += weight * part * sum(q[j, o] for o in range(labels) if o != label)
        q = np.exp(-energy)
        q /= q.sum(-1, keepdims=True)
    return q.reshape(h, w, labels)


@pytest.mark.parametrize("self_term", [True, False])
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_exact_one_is_a_double_loop(normalisation, self_term):
    logits, image = random_problem(3, 4)
    small = 1.0 if normalisation != "none" else 0.3  # sums of twelve pixels are not to swamp the unary
    kernels = Kernels(4.0 * small, 3.0, 8.0, 3.0 * small, 1.5)
    options = dict(normalisation=normalisation, self_term=self_term, iterations=2)
    loops = by_loops(np.asarray(logits, np.float64), image, kernels, **options)
    assert np.abs(loops - jax.nn.softmax(logits)).max() > 0.05
    np.testing.assert_allclose(exact(logits, image, kernels, **options), loops, atol=1e-5)


def test_two_pixels_by_hand():
    """Symmetric kernels of [[1, e], [e, 1]] / (1 + e), e = exp(-1 / 2): the second pixel leans to the first's label."""
    logits = jnp.asarray([[[np.log(3), 0], [0, 0]]], jnp.float32)
    kernels = Kernels(appearance=0.0, smoothness=2.0, smoothness_sigma=1.0)
    e = np.exp(-0.5)
    lead = 2 * np.array([0.5, e * 0.5]) / (1 + e)  # weight 2 times what Q_0 - Q_1 = (1/2, 0) sends to each
    expected = 1 / (1 + np.exp(-np.array([np.log(3), 0]) - lead))
    for crf in (exact, fast):
        q = crf(logits, np.zeros((1, 2, 3), np.float32), kernels, iterations=1)
        np.testing.assert_allclose(q[0, :, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("photo", "top", "left", "normalisation"),
    [*(("astronaut", 60, 160, normalisation) for normalisation in NORMALISATIONS), ("chelsea", 100, 200, "symmetric")],
)
def test_the_fast_one_is_near_the_exact_one(photo, top, left, normalisation):
    logits, image = photo_problem(getattr(skimage.data, photo)(), top, left)
    kernels = KERNELS if normalisation != "none" else Kernels(0.02, 20.0, 8.0, 0.1, 3.0)
    theirs, ours = (np.asarray(crf(logits, image, kernels, normalisation=normalisation)) for crf in (exact, fast))
    label = theirs.argmax(-1)
    assert (label != np.asarray(logits).argmax(-1)).mean() > 0.08  # what the CRF changes at all
    assert (label != ours.argmax(-1)).mean() < 0.02
    assert np.abs(ours - theirs).mean() < 0.01


def test_the_smoothness_kernel_alone_is_exact_in_the_fast_one():
    logits, image = photo_problem(skimage.data.astronaut(), 0, 0, 40)
    kernels = Kernels(appearance=0.0, smoothness=3.0, smoothness_sigma=2.5)
    theirs, ours = (crf(logits, image, kernels) for crf in (exact, fast))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@BOTH
def test_logits_that_are_the_same_everywhere_stay_so(crf):
    """Rows of D^-1 K sum to 1, so that Q <- softmax(logits + (w1 + w2) Q)."""
    _, image = random_problem(12, 10)
    logits = np.array([0.3, -0.2, 0.5])
    q = np.exp(logits) / np.exp(logits).sum()
    for _ in range(4):
        q = np.exp(logits + 7 * q)
        q /= q.sum()
    ours = crf(jnp.full((12, 10, 3), jnp.asarray(logits, jnp.float32)), image, normalisation="after", iterations=4)
    np.testing.assert_allclose(ours, np.broadcast_to(q, (12, 10, 3)), atol=1e-5)


@BOTH
def test_labels_that_trade_places_trade_their_answers(crf):
    logits, image = random_problem(labels=4)
    order = np.array([2, 0, 3, 1])
    plain, moved = (crf(x, image, iterations=3) for x in (logits, logits[..., order]))
    np.testing.assert_allclose(moved, plain[..., order], atol=1e-6)


@BOTH
def test_without_kernels_it_is_the_softmax(crf):
    logits, image = random_problem()
    expected = jax.nn.softmax(logits)
    np.testing.assert_allclose(crf(logits, image, Kernels(appearance=0.0, smoothness=0.0)), expected, atol=1e-6)


@BOTH
def test_heavier_kernels_smooth_more(crf):
    logits, image = photo_problem(skimage.data.astronaut(), 60, 160, 32)
    place = appearance_lattice(image, KERNELS) if crf is fast else jnp.asarray(image)

    def borders(scale):
        kernels = Kernels(2 * scale, 20.0, 8.0, scale, 3.0)  # weights share one program
        label = np.asarray((dense_crf if crf is fast else exact_dense_crf)(logits, place, kernels)).argmax(-1)
        return (label[1:] != label[:-1]).sum() + (label[:, 1:] != label[:, :-1]).sum()

    counts = [borders(scale) for scale in (0.0, 0.5, 1.5, 6.0)]
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0] / 2, counts


@BOTH
def test_colours_hold_what_places_alone_would_blur(crf):
    """Two tones, and logits that know the label but in a band around the edge between them."""
    image = np.full((24, 24, 3), 0.2, np.float32)
    image[:, 12:] = 0.6
    logits = np.zeros((24, 24, 2), np.float32)
    logits[:, :6, 0] = logits[:, 18:, 1] = 4
    q = np.asarray(crf(jnp.asarray(logits), image, Kernels(6.0, 8.0, 5.0, 0.5, 1.0), normalisation="after"))
    assert q[:, :12, 0].min() > 0.9 and q[:, 12:, 1].min() > 0.9


@BOTH
def test_gradients_of_logits_and_weights_are_slopes(crf):
    logits, image = random_problem(8, 9)
    lattice = appearance_lattice(image, KERNELS)
    aim, way = (jax.random.normal(jax.random.key(i), logits.shape) for i in (1, 2))

    def loss(logits, weights):
        kernels = Kernels(weights[0], 20.0, 8.0, weights[1], 3.0)
        place = (lattice,) if crf is fast else (jnp.asarray(image),)
        return jnp.sum(aim * (dense_crf if crf is fast else exact_dense_crf)(logits, *place, kernels, iterations=2))

    weights, ways = jnp.asarray([1.0, 0.5]), [(way, jnp.zeros(2)), (0 * way, jnp.eye(2)[0]), (0 * way, jnp.eye(2)[1])]
    value, gradients = (jax.jit(f, compiler_options=QUICK) for f in (loss, jax.grad(loss, (0, 1))))
    gradient = gradients(logits, weights)
    for x, y in ways:
        slope = (value(logits + 1e-2 * x, weights + 1e-2 * y) - value(logits - 1e-2 * x, weights - 1e-2 * y)) / 2e-2
        along = jnp.sum(gradient[0] * x) + jnp.sum(gradient[1] * y)
        assert float(along) == pytest.approx(float(slope), rel=1e-2, abs=5e-3)


def test_a_pixel_like_no_other_gets_no_message_without_its_own():
    logits, image = random_problem()
    image[2, 3] = 1
    kernels = Kernels(appearance=5.0, colour_sigma=3.0, smoothness=0.0)

    def loss(x):
        q = exact_dense_crf(x, jnp.asarray(image), kernels, self_term=False)
        return jnp.sum(q[..., 0]), q

    gradient, q = jax.jit(jax.grad(loss, has_aux=True), compiler_options=QUICK)(logits)
    np.testing.assert_allclose(q[2, 3], jax.nn.softmax(logits[2, 3]), atol=1e-6)
    assert np.isfinite(gradient).all()


def test_images_of_one_size_share_a_program_where_their_lattices_are_alike():
    shapes = set()
    for seed in range(4):
        _, image = random_problem(40, 40, seed=seed)
        shapes.add(tuple(x.shape for x in appearance_lattice(image, Kernels(colour_sigma=40.0))))
    assert len(shapes) < 4


@pytest.mark.parametrize("sigma", ["position_sigma", "colour_sigma", "smoothness_sigma"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_sigmas_are_positive(sigma, value):
    with pytest.raises(UserError, match=f"^{sigma} is"):
        Kernels(**{sigma: value})


@BOTH
def test_mistakes_are_told_in_one_line(crf):
    logits, image = random_problem()
    with pytest.raises(UserError, match="normalisation is 'row': use one of none, before, after, symmetric"):
        crf(logits, image, normalisation="row")
    with pytest.raises(UserError, match="logits"):
        crf(logits[:4], image)


def test_the_exact_one_refuses_large_images():
    with pytest.raises(UserError, match="10000 pixels at most: take dense_crf"):
        exact(jnp.zeros((101, 100, 2)), np.zeros((101, 100, 3), np.float32))

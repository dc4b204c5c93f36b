"""The part detector: sizes and parameters as published, and equal to a network slid over windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.models.tompson import Bank, Detector, half
from pixlab.nn.lcn import local_contrast_normalise


def image(*size, seed=0):
    return jax.random.uniform(jax.random.key(seed), (2, *size, 3))


def parameters(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("banks", [1, 2, 3])
def test_heat_maps_and_parameters_of_the_paper(banks):
    shapes = jax.eval_shape(Detector(10, banks).init, jax.random.key(0), jnp.zeros((1, 240, 360, 3)))["params"]
    out = jax.eval_shape(Detector(10, banks).apply, {"params": shapes}, jnp.zeros((1, 240, 360, 3)))
    assert out.shape == (1, 60, 90, 10)
    one = 3 * 25 * 128 + 2 * 128 * 25 * 128 + 128 * 81 * 512 + 3 * 128 + 512
    assert one == 6_138_112
    tail = 512 * 256 + 256 + 256 * 10 + 10
    assert parameters(shapes) == banks * one + tail


def test_sizes_inside_a_bank():
    """64 pixels: 30, 13 and 9 cells before the fully connected layer, 1 after."""
    taken = jax.eval_shape(
        lambda x: Bank(4).init_with_output(jax.random.key(0), x, capture_intermediates=True)[1]["intermediates"],
        jnp.zeros((1, 64, 64, 3)),
    )
    sizes = [taken[name]["__call__"][0].shape[1] for name in ("conv1", "conv2", "conv3", "fc1")]
    assert sizes == [60, 26, 9, 1]


def slid(variables, picture, cell):
    """The network for one cell alone: what it sees of 64x64 pixels and of 128x128 at half the resolution."""
    params = variables["params"]
    total = 0.0
    for level, (first, step) in enumerate([(-30, 4), (-31, 2)][: 2 if "bank1" in params else 1]):
        x = jnp.pad(local_contrast_normalise(half(picture, level)), ((0, 0), (64, 64), (64, 64), (0, 0)))
        top, left = (64 + first + step * n for n in cell)
        total = total + Bank(4).apply({"params": params[f"bank{level}"]}, x[:, top : top + 64, left : left + 64])
    params, x = jax.tree.map(np.asarray, params), np.maximum(total[:, 0, 0], 0)
    x = np.maximum(x @ params["fc2"]["kernel"][0, 0] + params["fc2"]["bias"], 0)
    return x @ params["fc3"]["kernel"][0, 0] + params["fc3"]["bias"]


@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("size", [(32, 40), (28, 36)])
def test_the_exact_form_is_the_network_slid_over_the_image(banks, size):
    picture = image(*size)
    model = Detector(3, banks, width=4, exact=True)
    variables = model.init(jax.random.key(0), picture)
    out = model.apply(variables, picture)
    assert out.shape == (2, size[0] // 4, size[1] // 4, 3)
    for cell in [(0, 0), (0, 1), (3, 4), (4, 3), (5, 8), (size[0] // 4 - 1, size[1] // 4 - 1)]:
        np.testing.assert_allclose(out[:, *cell], slid(variables, picture, cell), rtol=1e-4, atol=1e-5)


def test_the_simple_form_shares_the_coarse_answer_and_sees_the_same_place():
    """A spot moves the answers around it, in each bank alike: over the spot's phases none is shifted."""
    model = Detector(1, 3, width=8)
    flat = jnp.full((1, 120, 160, 3), 0.5)
    variables = model.init(jax.random.key(1), flat)
    add = lambda path, p: p + 30 if path[-1].key == "bias" else p  # noqa: E731
    variables = jax.tree_util.tree_map_with_path(add, variables)  # every unit answers, so all that is seen counts
    changed = []
    for level in range(3):
        others = {
            name: jax.tree.map(jnp.zeros_like, p) for name, p in variables["params"].items() if name.startswith("bank")
        }
        params = {"params": {**variables["params"], **others, f"bank{level}": variables["params"][f"bank{level}"]}}
        spot = 0.4 * jax.random.normal(jax.random.key(2), (8, 8, 3))
        noisy = jnp.stack([flat[0].at[48 + i : 56 + i, 68 + i : 76 + i].add(spot) for i in range(16)])
        moved = np.abs(model.apply(params, noisy) - model.apply(params, flat))[..., 0]
        middle = [[at.mean() * 4 + 1.5 for at in np.nonzero(each > 1e-6)] for each in moved]
        changed.append(np.mean(middle, 0))
    np.testing.assert_allclose(changed, [(48 + 3.5 + 7.5, 68 + 3.5 + 7.5)] * 3, atol=1)


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="30x40: sides must be multiples of 4"):
        Detector(1, 1, 4).init(jax.random.key(0), image(30, 40))
    with pytest.raises(ValueError, match="one and two banks"):
        Detector(1, 3, 4, exact=True).init(jax.random.key(0), image(32, 40))


def test_contrast_normalisation_by_loops():
    x = np.asarray(image(7, 6), np.float64)
    window, sigma = 5, 1.5
    at = np.arange(window) - 2
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2))

    def mean(x):
        out = np.zeros((*x.shape[:3], 1))
        for b, i, j in np.ndindex(x.shape[:3]):
            total = norm = 0.0
            for di, dj in np.ndindex(window, window):
                y, z = i + di - 2, j + dj - 2
                if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                    total += weights[di, dj] * x[b, y, z].mean()
                    norm += weights[di, dj]
            out[b, i, j] = total / norm
        return out

    centred = x - mean(x)
    deviation = np.sqrt(mean(centred**2))
    expected = centred / np.maximum(deviation, deviation.mean((1, 2), keepdims=True))
    np.testing.assert_allclose(
        local_contrast_normalise(jnp.asarray(x, jnp.float32), window, sigma), expected, atol=1e-5
    )


def test_a_flat_image_has_no_contrast():
    assert np.abs(local_contrast_normalise(jnp.full((1, 20, 20, 3), 0.7))).max() < 1e-2

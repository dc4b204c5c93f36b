"""The spatial model against values made by explicit loops, and what its kernels start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.losses.heatmap import gaussian_maps
from pixlab.models.tompson_spatial import (
    SpatialModel,
    displacement_histograms,
    first_parameters,
    inverse_softplus,
    kernels_from,
    softplus,
)
from pixlab.nn.fft_conv import pair_convolutions
from pixlab.nn.peaks import peaks

E = np.float32(
    [[[.1, 0, -.2, 0, .3], [0, .9, .2, 0, 0], [0, .1, 0, -.5, 0], [.2, 0, 0, 0, .6]],
     [[0, 0, 0, .1, 0], [0, 0, .4, 0, 0], [.7, 0, 0, 0, -.1], [0, 0, .5, 0, .2]]]
)  # fmt: skip
KERNELS = np.float32(
    [[[[-3, -2, -3], [-2, 1, -2], [-3, -2, -3]], [[-3, .5, -3], [-3, -3, -3], [-3, -3, 1.5]]],
     [[[2, -3, -3], [-3, -3, -3], [-3, -1, -3]], [[-4, -4, -4], [-4, 2, -4], [-4, -4, -4]]]]
)  # fmt: skip
BIAS = np.float32([[-5, -4], [-3, -5]])
# by loops in float64, and by scipy.signal.convolve2d
OUT = np.array(
    [[[.00540915, .00779677, .03813608, .00379079, .01361386], [.10774613, .12452253, .02820183, .0046612, .01228583],
      [.00660226, .03444752, .05753263, .0482445, .02307983], [.01483978, .07432938, .00178066, .00702903, .03657701]],
     [[.05616395, .01884924, .0046915, .02174068, .00194914], [.01398987, .00674822, .11466052, .00380388, .00442607],
      [.19720506, .0219, .00833364, .06549333, .00267832], [.00274158, .00460702, .06268236, .00341484, .03540949]]]
)  # fmt: skip
PARAMS = {"params": {"kernel": jnp.asarray(KERNELS), "bias": jnp.asarray(BIAS)}}
MAPS = jnp.asarray(E.transpose(1, 2, 0)[None])


def model(**options):
    return SpatialModel(2, **{"window": (3, 3), **options})


@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_values_by_loops(method):
    out = model(method=method).apply(PARAMS, MAPS)
    np.testing.assert_allclose(out[0].transpose(2, 0, 1), OUT, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize(("beta", "sums"), [(2.0, (0.08878582, 0.13722988)), (0.5, (11.27018029, 10.37121209))])
def test_beta(beta, sums):
    np.testing.assert_allclose(model(beta=beta).apply(PARAMS, MAPS).sum((0, 1, 2)), sums, rtol=1e-5)


def test_gradients_by_loops():
    truth = np.zeros((1, 4, 5, 2), np.float32)
    truth[0, 1, 1, 0] = truth[0, 2, 0, 1] = 1

    def loss(variables, maps):
        return jnp.mean((model().apply(variables, maps) - truth) ** 2)

    value, (grads, of_maps) = jax.value_and_grad(loss, (0, 1))(PARAMS, MAPS)
    np.testing.assert_allclose(value, 0.036682431860890714, rtol=1e-5)
    bias = [[6.07431151e-05, -8.82510773e-04], [-2.38590179e-03, 4.84138601e-05]]
    kernel = [[-1.07701807e-05, 1.86376673e-04, -1.79064877e-03], [-1.01828952e-03, 1.37891369e-06, -5.94902167e-06],
              [-1.31289909e-05, -1.11366148e-05, -2.35830570e-04]]  # fmt: skip
    np.testing.assert_allclose(grads["params"]["bias"], bias, rtol=1e-4)
    np.testing.assert_allclose(grads["params"]["kernel"][0, 1], kernel, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(of_maps[0, 2, :, 1], [-0.01264518, 0, 0, 0, 0], rtol=1e-4)  # nothing below epsilon


@pytest.mark.parametrize(("beta", "value"), [(0.5, -15.20130490), (1, -6.90725524), (2, -3.10680397)])
def test_inverse_softplus(beta, value):
    np.testing.assert_allclose(inverse_softplus(1e-3, beta), value, rtol=1e-5)
    y = np.array([1e-6, 1e-3, 0.5, 3.0, 80.0])
    np.testing.assert_allclose(softplus(jnp.asarray(inverse_softplus(y, beta)), beta), y, rtol=1e-4)


def test_the_torso_is_told_and_not_asked():
    maps = jnp.concatenate([MAPS, jnp.ones((1, 4, 5, 1))], -1)
    variables = model().init(jax.random.key(0), maps)
    assert variables["params"]["kernel"].shape == (2, 3, 3, 3)
    assert model().apply(variables, maps).shape == (1, 4, 5, 2)


def test_messages_along_the_edges_alone():
    only = model(edges=((1, 0), (0, 1))).apply(PARAMS, MAPS)
    other = MAPS.at[..., 1].set(0.3)
    np.testing.assert_array_equal(only[..., 0], model(edges=((1, 0), (0, 1))).apply(PARAMS, other)[..., 0])
    assert np.abs(model().apply(PARAMS, other) - model().apply(PARAMS, MAPS))[..., 0].max() > 1e-3


def test_half_precision_maps_are_computed_in_float32():
    half = MAPS.astype(jnp.bfloat16)
    out = model().apply(PARAMS, half)
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, model().apply(PARAMS, half.astype(jnp.float32)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 5.0}, "beta is 5.0; the paper has it between 1/2 and 2"),
        ({"epsilon": 0.0}, "epsilon is 0.0; the paper has it above 0 and at most 0.01"),
        ({"epsilon": 0.1}, "epsilon is 0.1"),
        ({"joints": 3}, "2 heat-maps for 3 joints"),
    ],
)
def test_what_the_paper_does_not_allow(options, words):
    with pytest.raises(ValueError, match=words):
        SpatialModel(**{"joints": 2, "window": (3, 3), **options}).apply(PARAMS, MAPS)


def test_a_map_smaller_than_the_kernel():
    """A kernel reaches over the whole map and beyond; what lies beyond adds nothing."""
    small = MAPS[:, :1, :2]
    wide = jnp.pad(jnp.asarray(KERNELS), ((0, 0), (0, 0), (4, 4), (4, 4)), constant_values=3.0)
    params = {"params": {"kernel": wide, "bias": PARAMS["params"]["bias"]}}
    out, inner = model(window=(11, 11)).apply(params, small), model().apply(PARAMS, small)
    np.testing.assert_allclose(out, inner, rtol=1e-4)


def test_histograms_count_displacements_and_skip_missing_joints():
    places = np.array([[[5, 5], [3, 6]], [[9, 9], [7, 10]], [[4, 4], [np.nan, np.nan]], [[60, 9], [0, 0]]], float)
    found = displacement_histograms(places, 1, (8, 7), blur=0)
    assert found.shape == (1, 2, 8, 7)
    assert found[0, 0, 4, 3] == 1  # itself: no displacement
    assert found[0, 1, 4 + 2, 3 - 1] == 1 and found[0, 1].sum() == 1  # the fourth leaves the window
    np.testing.assert_allclose(displacement_histograms(places, 1, (8, 7)).sum((2, 3)), 1, rtol=1e-6)


def test_a_pair_that_never_occurs_says_nothing():
    never = np.full((3, 2, 2), np.nan)
    np.testing.assert_allclose(displacement_histograms(never, 2, (4, 4)), 1 / 16)


def test_kernels_from_histograms_point_from_joint_to_joint():
    """With kernels that start at the histograms, a joint seen clearly says where an unseen one is."""
    rng = np.random.default_rng(0)
    first = rng.uniform(8, 22, (200, 2))
    places = np.stack([first, first + (5, -3) + rng.normal(0, 0.5, first.shape)], 1)
    kernels = jnp.asarray(kernels_from(displacement_histograms(places, 2, (24, 24), blur=1)))
    maps = np.zeros((1, 30, 30, 2), np.float32)
    maps[0, 12, 20, 0] = 1
    spatial = SpatialModel(2, window=(24, 24))
    bias = jnp.full((2, 2), inverse_softplus(1e-5), jnp.float32)
    out = spatial.apply({"params": {"kernel": kernels, "bias": bias}}, jnp.asarray(maps))
    assert np.unravel_index(out[0, ..., 1].argmax(), (30, 30)) == (17, 17)
    assert np.unravel_index(out[0, ..., 0].argmax(), (30, 30)) == (12, 20)


def test_first_parameters_say_between_the_background_and_1():
    rng = np.random.default_rng(0)
    first = rng.uniform(5, 15, (300, 1, 2))
    places = np.concatenate([first, first + rng.normal((6, -2), 2, (300, 1, 2))], 1)  # joint 1 lies below joint 0
    params = first_parameters(places, 2, (40, 40), 1.5, background=0.7)
    kernels, bias = (softplus(jnp.asarray(params[name])) for name in ("kernel", "bias"))
    peak = gaussian_maps(jnp.full((1, 2, 2), 20.0), jnp.ones((1, 2)), (41, 41)).transpose(0, 3, 1, 2)
    told = np.asarray(pair_convolutions(peak, kernels) + bias[None, :, :, None, None])[0]
    np.testing.assert_allclose(told.max((2, 3)), 1, rtol=0.02)
    np.testing.assert_allclose(told.min((2, 3)), [[0.001, 0.7], [0.7, 0.001]], rtol=0.05)
    np.testing.assert_allclose(told[0, 0], peak[0, 0] + 0.001, atol=1e-3)  # to itself, its own map
    y, x = np.unravel_index(told[1, 0].argmax(), (41, 41))
    assert abs(y - 26) <= 1 and abs(x - 18) <= 1


def test_the_torso_tells_which_of_two_people_is_meant():
    rng = np.random.default_rng(1)
    head = rng.uniform((5, 5), (15, 45), (300, 1, 2))
    spread = rng.normal(0, 1.5, (300, 2, 2))
    hip, torso = head + spread[:, :1] + (12, 0), head + spread[:, 1:] + (6, 0)
    params = first_parameters(np.concatenate([head, hip, torso], 1), 2, (40, 80), 1.5)
    params = jax.tree.map(jnp.asarray, params)
    two = np.array([[10, 12], [10, 38]], np.float32)  # heads of two people, (y, x)

    def seen(who, heights):
        at = np.stack([two, two + (12, 0)])[..., ::-1]  # [joint, person, (x, y)]
        each = zip(jnp.asarray(at.swapaxes(0, 1))[:, None], heights, strict=True)
        maps = [gaussian_maps(joints, jnp.full((1, 2), height), (30, 50)) for joints, height in each]
        torso = jnp.asarray((two[who] + (6, 0))[::-1])[None, None]
        maps = [sum(maps), gaussian_maps(torso, jnp.ones((1, 1)), (30, 50))]
        return SpatialModel(2, (40, 80)).apply({"params": params}, jnp.concatenate(maps, -1))

    for who in (0, 1):
        out = seen(who, (1.0, 0.9) if who else (0.9, 1.0))  # the other one stands out more
        places, _ = peaks(out)
        np.testing.assert_allclose(places[0, 0], two[who][::-1], atol=0.5)
        np.testing.assert_allclose(places[0, 1], two[who][::-1] + (0, 12), atol=0.5)

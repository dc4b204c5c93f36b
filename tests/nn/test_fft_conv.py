"""Convolution through Fourier transforms against XLA's own and against loops."""

import functools
import re

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.benchmarks.spatial_model import direct
from pixlab.nn.fft import fast_size
from pixlab.nn.fft_conv import alias_free, pair_convolutions


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def by_loop(maps, kernels):
    """The definition, one product at a time, in float64."""
    (b, v, h, w), (a, _, n, m) = maps.shape, kernels.shape
    out = np.zeros((b, a, v, h, w))
    for i, j, y, x in np.ndindex(n, m, h, w):
        row, column = y - (i - n // 2), x - (j - m // 2)
        if 0 <= row < h and 0 <= column < w:
            out[..., y, x] += kernels[None, :, :, i, j] * maps[:, None, :, row, column]
    return out


def random(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("method", ["fft", "matrix"])
@pytest.mark.parametrize("window", [(3, 3), (4, 2), (1, 6), (9, 7), (10, 12)])
def test_the_definition(method, window):
    maps, kernels = random(0, (2, 2, 5, 4), (3, 2, *window))
    close(pair_convolutions(maps, kernels, method), by_loop(maps, kernels))


@pytest.mark.parametrize("window", [(12, 18), (11, 17), (128, 128)])
def test_a_kernel_s_index_is_the_displacement_from_its_half(window):
    """One joint at (2, 4), the other 2 rows below and 1 column to the left of it: at (4, 3)."""
    maps, kernels = np.zeros((1, 1, 6, 9)), np.zeros((1, 1, *window))
    maps[0, 0, 2, 4] = kernels[0, 0, window[0] // 2 + 2, window[1] // 2 - 1] = 1
    out = pair_convolutions(jnp.asarray(maps), jnp.asarray(kernels))[0, 0, 0]
    assert np.unravel_index(out.argmax(), out.shape) == (4, 3)
    close(out, np.eye(54)[4 * 9 + 3].reshape(6, 9))


sizes = st.integers(1, 24)


@settings(max_examples=25, deadline=None)
@given(st.tuples(sizes, sizes), st.tuples(sizes, sizes), st.sampled_from(["fft", "matrix"]), st.integers(0, 99))
def test_value_and_gradients_are_those_of_a_direct_convolution(size, window, method, seed):
    maps, kernels, grad = random(seed, (2, 3, *size), (2, 3, *window), (2, 2, 3, *size))
    ours, back = jax.vjp(functools.partial(pair_convolutions, method=method), maps, kernels)
    theirs, direct_back = jax.vjp(direct, maps, kernels)
    for mine, exact in zip((ours, *back(grad)), (theirs, *direct_back(grad)), strict=True):
        close(mine, exact)


def test_value_and_gradients_at_the_paper_s_size():
    maps, kernels, grad = random(0, (1, 2, 60, 90), (2, 2, 128, 128), (1, 2, 2, 60, 90))
    theirs, direct_back = jax.vjp(direct, maps, kernels)
    for method in ("fft", "matrix"):
        ours, back = jax.vjp(functools.partial(pair_convolutions, method=method), maps, kernels)
        for mine, exact in zip((ours, *back(grad)), (theirs, *direct_back(grad)), strict=True):
            close(mine, exact)


def transforms(jaxpr, times=1):
    """How many two-dimensional transforms a program makes, counted through its loops."""
    count = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "fft":
            count += times * int(np.prod(eqn.invars[0].aval.shape[:-2]))
        inner = times * eqn.params.get("length", 1) if eqn.primitive.name == "scan" else times
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                count += transforms(value, inner)
    return count


def test_no_more_transforms_than_needed():
    b, a, v = 3, 4, 5
    maps, kernels = random(0, (b, v, 6, 7), (a, v, 8, 8))
    forward = jax.make_jaxpr(pair_convolutions)(maps, kernels)
    assert transforms(forward.jaxpr) == b * v + a * v + b * a * v
    step = jax.make_jaxpr(jax.grad(lambda *x: jnp.sum(pair_convolutions(*x) ** 2), (0, 1)))(maps, kernels)
    assert transforms(step.jaxpr) == 2 * b * (a * v + v) + 2 * a * v


def test_the_sizes_for_heat_maps_of_60x90():
    assert [alias_free(60, 128), alias_free(90, 128)] == [128, 154]
    assert [fast_size(n) for n in (128, 154, 119, 179, 1, 7, 127)] == [128, 160, 120, 180, 2, 8, 128]


@given(st.integers(1, 40), st.integers(1, 40))
def test_nothing_wraps_round_and_no_smaller_circle_would_do(length, window):
    read = range(window // 2, window // 2 + length)  # of the positions 0 to length + window - 2

    def clean(size):
        return size >= max(window, read.stop) and not any(i - size in read for i in range(size, length + window - 1))

    assert clean(alias_free(length, window)) and not clean(alias_free(length, window) - 1)


def test_under_vmap_and_half_precision():
    maps, kernels = random(0, (4, 2, 3, 5, 6), (2, 3, 7, 7))
    batched = jax.jit(jax.vmap(pair_convolutions, (0, None)))(maps, kernels)
    each = [pair_convolutions(m, kernels) for m in maps]
    close(batched, np.stack(each))
    gradients = jax.grad(lambda *x: jnp.sum(jnp.sin(pair_convolutions(*x))), (0, 1))
    batched = jax.jit(jax.vmap(gradients, (0, None)))(maps, kernels)
    for one, by_one in zip(batched, zip(*(gradients(m, kernels) for m in maps), strict=True), strict=True):
        close(one, np.stack(by_one))
    half = jnp.asarray(maps[0], jnp.bfloat16)
    out = pair_convolutions(half, kernels)
    assert out.dtype == jnp.float32
    close(out, pair_convolutions(half.astype(jnp.float32), kernels), 1e-6)


@pytest.mark.parametrize("method", ["fft", "matrix"])
def test_each_device_transforms_its_own_part_of_the_batch(method):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    maps, kernels = random(0, (2 * mesh.size, 3, 6, 7), (3, 3, 5, 5))
    split, whole = (NamedSharding(mesh, spec) for spec in (PartitionSpec("data"), PartitionSpec()))

    def loss(maps, kernels):
        return jnp.sum(jnp.sin(pair_convolutions(maps, kernels, method)))

    step = jax.jit(jax.value_and_grad(loss, (0, 1)), in_shardings=(split, whole), out_shardings=(whole, (split, whole)))
    text = step.lower(maps, kernels).compile().as_text()
    assert mesh.size > 1
    assert not re.findall("all-gather|all-to-all|collective-permute", text)
    value, grads = step(maps, kernels)
    one_value, one_grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(maps, kernels)
    for mine, alone in zip((value, *grads), (one_value, *one_grads), strict=True):
        close(mine, alone)


def test_memory_does_not_grow_with_the_number_of_outputs():
    def peak(a):
        shapes = (jax.ShapeDtypeStruct(s, jnp.float32) for s in [(8, 14, 60, 90), (a, 14, 128, 128)])
        step = jax.jit(jax.grad(lambda *x: jnp.sum(pair_convolutions(*x) ** 2), (0, 1)))
        return step.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    maps, spectra = 4 * 8 * 14 * 60 * 90, 8 * 14 * 128 * 81
    assert peak(14) - peak(4) < 10 * (3 * maps + 1.1 * spectra)


def test_14_joints_and_a_batch_of_64_fit_into_16_gb():
    shapes = (jax.ShapeDtypeStruct(s, jnp.float32) for s in [(64, 15, 60, 90), (14, 15, 128, 128)])
    step = jax.jit(jax.value_and_grad(lambda *x: jnp.sum(pair_convolutions(*x) ** 2), (0, 1)))
    memory = step.lower(*shapes).compile().memory_analysis()
    took = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    assert 1e8 < took < 2e9  # what a spatial model does with the messages comes beside


def test_maps_and_kernels_that_do_not_fit():
    with pytest.raises(ValueError, match="3 maps but kernels for 2: their second axes must be equal"):
        pair_convolutions(jnp.zeros((1, 3, 4, 4)), jnp.zeros((1, 2, 3, 3)))


def test_mistakes_that_shape_checks_would_find_first():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"kernels \[a, v, n, m\]; they are \(3, 4, 4\)"):
            pair_convolutions(jnp.zeros((3, 4, 4)), jnp.zeros((1, 3, 3, 3)))
        with pytest.raises(ValueError, match="no method 'fast'; there are fft and matrix"):
            pair_convolutions(jnp.zeros((1, 3, 4, 4)), jnp.zeros((1, 3, 3, 3)), "fast")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)

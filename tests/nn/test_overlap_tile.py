"""Tiles against the whole picture in one piece, and mirrored borders against NumPy's."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.ciresan2012 import N4
from pixlab.models.unet import UNet
from pixlab.nn.overlap_tile import overlap_tile, reflected

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
PICTURE = jax.random.uniform(jax.random.key(0), (2, 50, 71, 1))


@pytest.mark.parametrize(("length", "before", "after"), [(1, 5, 3), (2, 7, 4), (5, 3, 11), (9, 0, 2), (30, 20, 8)])
def test_reflected_is_numpys_reflection(length, before, after):
    line = np.arange(length)
    expected = np.pad(line, (before, after), mode="reflect")
    np.testing.assert_array_equal(line[reflected(length, -before, before + length + after)], expected)


def in_one_piece(apply, image, margin, multiple):
    """The picture, mirrored by NumPy, through the network at once."""
    pads = [(margin, margin + -n % multiple) for n in image.shape[1:3]]
    padded = np.pad(image, ((0, 0), *pads, (0, 0)), mode="reflect")
    return apply(padded)[:, : image.shape[1], : image.shape[2]]


@functools.cache
def unet():
    module = UNet(2, base=3, levels=2, padding="VALID")  # loses 20 pixels each side
    variables = draw(module, jnp.zeros((1, 44, 44, 1)))
    return lambda x: module.apply(variables, x)


def close(ours, theirs):
    assert ours.shape == theirs.shape and np.ptp(theirs) > 1e-2 * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("tile", [44, 56, 92, 200])
def test_tiles_of_a_u_net_are_the_whole(tile):
    one = jit(functools.partial(overlap_tile, unet(), tile=tile, margin=20, multiple=4))
    close(one(PICTURE), in_one_piece(jit(unet()), PICTURE, 20, 4))


@pytest.mark.parametrize("size", [(1, 1), (3, 60), (17, 5)])
def test_pictures_smaller_than_a_tile(size):
    small = PICTURE[:, : size[0], : size[1]]
    one = jit(functools.partial(overlap_tile, unet(), tile=56, margin=20, multiple=4))
    close(one(small), in_one_piece(jit(unet()), small, 20, 4))


def test_tiles_apart_by_another_multiple_show():
    """The equality above is not for nothing: pools that look at other pixels give other answers."""
    whole = in_one_piece(jit(unet()), PICTURE, 20, 4)
    one = jit(functools.partial(overlap_tile, unet(), tile=58, margin=20, multiple=6))
    with pytest.raises(UserError, match="does not halve evenly"):
        one(PICTURE)
    shifted = jit(functools.partial(overlap_tile, unet(), tile=56, margin=20, multiple=4))(PICTURE[:, 1:])
    assert np.abs(shifted[:, 25:] - whole[:, 26:]).max() > 1e-3 * np.abs(whole).max()


def test_tiles_of_n4_are_the_mirrored_whole():
    whole, tiles = N4(width=1 / 16), N4(width=1 / 16, padding="VALID")
    picture = PICTURE[:1, :49, :50]
    variables = draw(whole, picture)
    apply = functools.partial(tiles.apply, variables)
    for tile in (110, 126):
        one = jit(functools.partial(overlap_tile, apply, tile=tile, margin=47, multiple=16))
        close(one(picture), jit(whole.apply)(variables, picture))
    with pytest.raises(UserError, match=r"unpadded N4: size 111 does not fit; take 95 or 16\*k \+ 94"):
        jax.eval_shape(apply, jnp.zeros((1, 111, 110, 1)))


@pytest.fixture
def free_sizes_are_no_ints():
    """jaxtyping, which only tests have active, would refuse them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_a_batch_of_unknown_size_is_one_program(free_sizes_are_no_ints):
    one = functools.partial(overlap_tile, unet(), tile=56, margin=20, multiple=4)
    (specs,) = jax.export.symbolic_args_specs((PICTURE,), "b, ...")
    program = jax.export.export(jax.jit(one))(specs)
    assert [str(n) for n in program.out_avals[0].shape] == ["b", "50", "71", "2"]


def test_what_does_not_fit():
    with pytest.raises(UserError, match="tiles of 43 pixels with margins of 20: give at least 44"):
        overlap_tile(unet(), PICTURE, tile=43, margin=20, multiple=4)
    with pytest.raises(ValueError, match="does it lose 19 each side"):
        overlap_tile(unet(), PICTURE, tile=44, margin=19, multiple=4)

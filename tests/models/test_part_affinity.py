"""The network of part affinity fields: parameters by hand, a stage equal to PyTorch's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models.part_affinity import PartAffinity


def conv(window, before, after):
    return window * window * before * after + after


def by_hand(joints, limbs, stages):
    """Parameters of the network at full width."""
    trunk = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 3, (256, 512), (512, 512)]
    total = sum(conv(3, *pair) for pair in [*trunk, (512, 256), (256, 128)])
    for out in (joints + 1, 2 * limbs):
        total += 3 * conv(3, 128, 128) + conv(1, 128, 512) + conv(1, 512, out)
        joined = 128 + joints + 1 + 2 * limbs
        total += (stages - 1) * (conv(7, joined, 128) + 4 * conv(7, 128, 128) + conv(1, 128, 128) + conv(1, 128, out))
    return total


@pytest.mark.parametrize(("joints", "limbs", "stages"), [(18, 19, 6), (15, 14, 6), (15, 14, 1), (4, 3, 2)])
def test_parameters_and_sizes(joints, limbs, stages):
    image = jax.ShapeDtypeStruct((1, 368, 368, 3), jnp.float32)
    module = PartAffinity(joints, limbs, stages)
    (maps, fields), variables = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x), image)
    assert maps.shape == (1, stages, 46, 46, joints + 1) and fields.shape == (1, stages, 46, 46, 2 * limbs)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == by_hand(joints, limbs, stages)


def test_parameters_of_the_coco_network():
    """18 joints and 19 limbs, six stages."""
    assert by_hand(18, 19, 6) == 52_311_446


@pytest.fixture(scope="module")
def small():
    image = jax.random.uniform(jax.random.key(0), (2, 40, 51, 3))
    module = PartAffinity(3, 2, 2, width=1 / 16)
    return module, draw(module, image), image


def test_stages_are_those_of_torch(small):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    module, variables, image = small
    (maps, fields), state = module.apply(variables, image, capture_intermediates=True)
    features = np.maximum(np.asarray(state["intermediates"]["features2"]["__call__"][0]), 0)

    def branch(name, x, layers):
        for index in range(1, layers + 1):
            weights = variables["params"][name][f"conv{index}"]
            kernel = torch.from_numpy(np.array(weights["kernel"]).transpose(3, 2, 0, 1).copy())
            bias = torch.from_numpy(np.array(weights["bias"]))
            x = functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
            x = functional.relu(x) if index < layers else x
        return x

    f = torch.from_numpy(features.transpose(0, 3, 1, 2).copy())
    first = [branch(f"stage1_{name}", f, 5) for name in ("maps", "fields")]
    second = [branch(f"stage2_{name}", torch.cat([*first, f], 1), 7) for name in ("maps", "fields")]
    for ours, theirs in zip((maps, fields), zip(first, second, strict=True), strict=True):
        for stage, one in enumerate(theirs):
            expected = one.numpy().transpose(0, 2, 3, 1)
            np.testing.assert_allclose(ours[:, stage], expected, atol=1e-4 * np.abs(expected).max())


def test_cells_are_8_pixels(small):
    """What is painted on the pixels of a cell moves with it, away from the borders."""
    module, variables, _ = small
    image = jnp.zeros((1, 320, 320, 3)).at[:, 152:160, 152:160].set(1.0)
    moved = jnp.roll(image, (8, -16), (1, 2))
    first, second = (module.apply(variables, x)[0][0, 0] for x in (image, moved))
    np.testing.assert_allclose(jnp.roll(first, (1, -2), (0, 1))[14:-14, 14:-14], second[14:-14, 14:-14], atol=1e-4)
    assert jnp.abs(first - second)[14:-14, 14:-14].max() > 0.01


def test_an_image_of_less_than_a_cell():
    with pytest.raises(ValueError, match="an image of 7x20: at least 8x8"):
        jax.eval_shape(PartAffinity(3, 2).init, jax.random.key(0), jnp.zeros((1, 7, 20, 3)))

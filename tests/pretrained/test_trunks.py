"""Published weights for trunks: normalisation put into scale and shift, a classifier's layers as convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.resnet import ResNet
from pixlab.pretrained import trunks

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)


def test_a_frozen_resnet_is_the_one_with_its_statistics(tmp_path):
    module = ResNet((1, 1), width=1 / 16)
    image = jax.random.uniform(jax.random.key(0), (1, 32, 40, 3))
    variables = draw(module, image)
    for leaf in jax.tree.leaves(variables["batch_stats"]):
        assert leaf.dtype == jnp.float32
    stats = jax.tree.map(lambda x: jnp.asarray(RNG.uniform(0.5, 2, x.shape), jnp.float32), variables["batch_stats"])
    names = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    file = {}
    for path, x in jax.tree_util.tree_leaves_with_path({"p": variables["params"], "s": stats}):
        *layers, last = (k.key for k in path[1:])
        name = ".".join(layers).replace("_0", ".0").replace("conv_skip", "downsample.0")
        name = name.replace("bn_skip", "downsample.1")
        file[f"{name}.{names[last]}"] = np.asarray(x.transpose(3, 2, 0, 1) if x.ndim == 4 else x)
    np.savez(tmp_path / "resnet.npz", **file)
    fresh = {"trunk": jax.tree.map(jnp.zeros_like, variables["params"]), "rate6": {"kernel": jnp.ones(3)}}
    found = trunks.frozen_resnet(str(tmp_path / "resnet.npz"), fresh)
    np.testing.assert_array_equal(found["rate6"]["kernel"], 1)
    plain = jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.full(x.shape, float(path[-1].key == "var")), variables["batch_stats"]
    )
    apply = jit(module.apply)
    theirs = apply({"params": variables["params"], "batch_stats": stats}, image)
    ours = apply({"params": found["trunk"], "batch_stats": plain}, image)
    for stride, features in theirs.items():
        np.testing.assert_allclose(ours[stride], features, atol=1e-5 * np.abs(features).max())


WEIGHTS = {
    "classifier.0.weight": RNG.normal(size=(12, 5 * 7 * 7)), "classifier.0.bias": RNG.normal(size=12),
    "classifier.3.weight": RNG.normal(size=(12, 12)), "classifier.3.bias": RNG.normal(size=12),
}  # fmt: skip


def empty(window, channels, units):
    like = lambda *shape: {"kernel": np.zeros(shape), "bias": np.zeros(shape[-1])}  # noqa: E731
    return {"fc6": like(window, window, channels, units), "fc7": like(1, 1, units, units)}


def test_a_classifier_as_convolutions():
    how = dict(layers=[("fc6", "fc7")], names=trunks.VGG_UNITS, window=7)
    found = trunks.fully_connected(WEIGHTS, empty(7, 5, 12), **how)
    features = RNG.normal(size=(5, 7, 7))  # as PyTorch flattens them
    one = WEIGHTS["classifier.0.weight"] @ features.ravel() + WEIGHTS["classifier.0.bias"]
    two = WEIGHTS["classifier.3.weight"] @ one + WEIGHTS["classifier.3.bias"]
    ours = np.einsum("ijcd,cij->d", found["fc6"]["kernel"], features) + found["fc6"]["bias"]
    np.testing.assert_allclose(ours, one, rtol=1e-5)
    np.testing.assert_allclose(ours @ found["fc7"]["kernel"][0, 0] + found["fc7"]["bias"], two, rtol=1e-4)
    renamed = {name.replace("classifier.0", "pre_logits.fc1"): x for name, x in WEIGHTS.items()}
    renamed = {name.replace("classifier.3", "pre_logits.fc2"): x for name, x in renamed.items()}
    again = trunks.fully_connected(renamed, empty(7, 5, 12), **how)
    np.testing.assert_array_equal(again["fc6"]["kernel"], found["fc6"]["kernel"])


def test_fewer_units_and_a_smaller_window_are_some_of_them():
    how = dict(layers=[("fc6", "fc7")], names=trunks.VGG_UNITS, window=7)
    found = trunks.fully_connected(WEIGHTS, empty(3, 5, 4), **how)
    whole = WEIGHTS["classifier.0.weight"].reshape(12, 5, 7, 7)[:, :, ::3, ::3]
    kept = [int(np.argmin(np.abs(WEIGHTS["classifier.0.bias"] - bias))) for bias in found["fc6"]["bias"]]
    assert len(set(kept)) == 4
    np.testing.assert_allclose(found["fc6"]["kernel"], whole[kept].transpose(2, 3, 1, 0), rtol=1e-6)
    last = [int(np.argmin(np.abs(WEIGHTS["classifier.3.bias"] - bias))) for bias in found["fc7"]["bias"]]
    expected = WEIGHTS["classifier.3.weight"][np.ix_(last, kept)].T
    np.testing.assert_allclose(found["fc7"]["kernel"][0, 0], expected, rtol=1e-6)
    assert trunks.fully_connected({}, empty(3, 5, 4), **how) == {}
    with pytest.raises(UserError, match="fc6 of 6 channels"):
        trunks.fully_connected(WEIGHTS, empty(3, 6, 4), **how)


def test_no_such_file_names_the_option():
    with pytest.raises(UserError, match=r"--weights none\.h5: no weight file none\.h5"):
        trunks.vgg16("none.h5", {"trunk": {}}, mean=(0, 0, 0), std=(1, 1, 1))

"""The colorization network: parameters by hand, and equal to the same network of PyTorch's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models.zhang2016 import Colorizer
from pixlab.net import Net

RELEASE = [  # models/colorization_train_val_v2.prototxt: (convolutions' channels, the last one's stride, dilation), ...
    ("conv1", (64, 64), 2, 1),
    ("conv2", (128, 128), 2, 1),
    ("conv3", (256, 256, 256), 2, 1),
    ("conv4", (512, 512, 512), 1, 1),
    ("conv5", (512, 512, 512), 1, 2),
    ("conv6", (512, 512, 512), 1, 2),
    ("conv7", (512, 512, 512), 1, 1),
]


def test_parameters_by_hand():
    def layer(cells, inputs, outputs):
        return cells * inputs * outputs + outputs

    small = layer(9, 1, 64) + layer(9, 64, 64) + layer(9, 64, 128) + layer(9, 128, 128)
    middle = layer(9, 128, 256) + 2 * layer(9, 256, 256) + layer(9, 256, 512) + 11 * layer(9, 512, 512)
    last = layer(16, 512, 256) + 2 * layer(9, 256, 256) + layer(1, 256, 313)
    model, image = Colorizer(), jnp.zeros((1, 176, 176, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == small + middle + last == 32_230_393
    assert jax.eval_shape(model.apply, shapes, image).shape == (1, 44, 44, 313)
    assert set(shapes) == {"params", "batch_stats"}
    for block, channels, _, _ in RELEASE:
        kernels = [shapes["params"][f"{block}_{index}"]["kernel"].shape for index in range(1, len(channels) + 1)]
        assert [kernel[3] for kernel in kernels] == list(channels)


def copied(layer, params, order=(3, 2, 0, 1)):
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(params["kernel"]).transpose(order).copy()))
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))
    return layer


def torch_colorizer(variables, x, train):
    """(scores, {block: features}, {block: its normalisation}) in PyTorch's layers."""
    import torch
    from torch import nn

    params, stats, features, norms = variables["params"], variables["batch_stats"], {}, {}
    x = torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())
    for block, channels, stride, dilation in RELEASE:
        for index in range(1, len(channels) + 1):
            kernel = params[f"{block}_{index}"]["kernel"]
            step = stride if index == len(channels) else 1
            conv = nn.Conv2d(*kernel.shape[2:], 3, step, padding=dilation, dilation=dilation)
            x = torch.relu(copied(conv, params[f"{block}_{index}"])(x))
        norm = nn.BatchNorm2d(x.shape[1], momentum=0.001, affine=False)
        norm.running_mean.copy_(torch.from_numpy(np.array(stats[f"{block}_norm"]["mean"])))
        norm.running_var.copy_(torch.from_numpy(np.array(stats[f"{block}_norm"]["var"])))
        x, norms[block] = norm.train(train)(x), norm
        features[block] = x
    up = nn.ConvTranspose2d(*params["conv8_1"]["kernel"].shape[2:], 4, 2, 1)
    x = torch.relu(copied(up, params["conv8_1"], (2, 3, 0, 1))(x))
    for index in (2, 3):
        kernel = params[f"conv8_{index}"]["kernel"]
        x = torch.relu(copied(nn.Conv2d(*kernel.shape[2:], 3, padding=1), params[f"conv8_{index}"])(x))
    features["conv8"] = x
    out = copied(nn.Conv2d(x.shape[1], params["out"]["kernel"].shape[3], 1), params["out"])(x)
    return out.detach().numpy().transpose(0, 2, 3, 1), features, norms


@pytest.mark.parametrize("train", [False, True])
def test_equals_pytorchs_layers(train):
    pytest.importorskip("torch")
    model = Colorizer(width=1 / 64, outputs=7)
    x = jnp.asarray(np.random.default_rng(0).uniform(-50, 50, (2, 32, 40, 1)), jnp.float32)
    variables = draw(model, x)
    out, changed = jax.jit(lambda v, x: model.apply(v, x, train, mutable=["intermediates", "batch_stats"]))(
        variables, x
    )
    expected, features, norms = torch_colorizer(variables, x, train)
    np.testing.assert_allclose(out, expected, atol=2e-5 * np.abs(expected).max())
    assert set(changed["intermediates"]) == {*(block for block, *_ in RELEASE), "conv8"}
    for block, (ours,) in changed["intermediates"].items():
        theirs = features[block].detach().numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
    if train:
        for block, norm in norms.items():
            moved = changed["batch_stats"][f"{block}_norm"]
            np.testing.assert_allclose(moved["mean"], norm.running_mean.numpy(), rtol=1e-5, atol=1e-6)
            values = features[block].numel() // features[block].shape[1]  # PyTorch's variance has Bessel's correction
            before, after = np.asarray(variables["batch_stats"][f"{block}_norm"]["var"]), norm.running_var.numpy()
            np.testing.assert_allclose(
                moved["var"], before * 0.999 + (after - before * 0.999) * (1 - 1 / values), rtol=1e-5
            )


def test_features_are_kept_only_when_asked_for():
    model, x = Colorizer(width=1 / 64, outputs=2), jnp.zeros((1, 16, 16, 1))
    net = Net("net", model, ((1, 16, 16, 1),))
    params, carry = jax.eval_shape(net.init, jax.random.key(0))
    assert set(carry["net"]) == {"batch_stats"}
    _, moved = jax.eval_shape(lambda p, c, x: net(p, c, x, train=True, key=jax.random.key(0)), params, carry, x)
    assert set(moved["net"]) == {"batch_stats"}


def test_sides_that_8_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        jax.eval_shape(Colorizer().init, jax.random.key(0), jnp.zeros((1, 36, 40, 1)))

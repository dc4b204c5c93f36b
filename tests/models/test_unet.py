"""U-Net against the same network in PyTorch, and its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.unet import UNet, valid_size

KEY = jax.random.key(0)


def torch_unet(params, image, levels, pad, release):
    """The network written with PyTorch's functions, on our parameters."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def tensor(x, *axes):
        return torch.from_numpy(np.array(x).transpose(axes).copy() if axes else np.array(x))

    def conv(x, name, padding=pad):
        p = params[name]
        return f.conv2d(x, tensor(p["kernel"], 3, 2, 0, 1), tensor(p["bias"]), padding=padding)

    def twice(x, name):
        return f.relu(conv(f.relu(conv(x, f"{name}_conv1")), f"{name}_conv2"))

    x, skips = tensor(image, 0, 3, 1, 2), []
    for level in range(levels):
        skips.append(twice(x, f"down{level}"))
        x = f.max_pool2d(skips[-1], 2)
    x = twice(x, f"down{levels}")
    for level in reversed(range(levels)):
        p = params[f"up{level}"]
        x = f.conv_transpose2d(x, tensor(p["kernel"], 2, 3, 0, 1), tensor(p["bias"]), stride=2)
        x, cut = f.relu(x) if release else x, (skips[level].shape[2] - x.shape[2]) // 2
        end = -cut or None
        x = twice(torch.cat([x, skips[level][:, :, cut:end, cut:end]], 1), f"up{level}")
    return conv(x, "out", 0).numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("padding,size,release", [("VALID", 48, False), ("VALID", 48, True), ("SAME", 16, False)])
def test_is_the_network_in_pytorch(padding, size, release):
    image = jax.random.uniform(KEY, (2, size, size, 2))
    module = UNet(3, base=4, levels=2, padding=padding, release=release)
    variables = draw(module, image)
    out = jax.jit(module.apply)(variables, image)
    theirs = torch_unet(variables["params"], image, 2, 1 if padding == "SAME" else 0, release)
    assert out.shape[1] == (size if padding == "SAME" else valid_size(size, 2))
    np.testing.assert_allclose(out, theirs, atol=1e-4 * np.abs(theirs).max())


def test_any_size_is_the_padded_image_cropped():
    image = jax.random.uniform(KEY, (1, 13, 18, 1))
    module = UNet(1, base=4, levels=2)
    params, apply = draw(module, image), jax.jit(module.apply)
    padded = np.pad(image, ((0, 0), (1, 2), (1, 1), (0, 0)), mode="reflect")  # 16x20
    expected = apply(params, jnp.asarray(padded))[:, 1:14, 1:19]
    np.testing.assert_allclose(apply(params, image), expected, atol=1e-5)


def test_smallest_padded_size():
    for levels in (1, 2, 3, 4):
        sizes = []
        for size in range(1, 9):
            try:
                out = jax.eval_shape(UNet(2, base=2, levels=levels).init_with_output, KEY, jnp.zeros((1, size, 32, 1)))[
                    0
                ]
                assert out.shape == (1, size, 32, 2)
                sizes.append(size)
            except UserError as error:
                least = str(error).split("at least ")[1].split("x")[0]
        assert sizes == list(range(int(least), 9))


def test_unpadded_sizes_of_the_paper():
    assert valid_size(572) == 388
    sizes = [n for n in range(1, 400) if not isinstance(_size_or_error(n), UserError)]
    assert sizes == [16 * k + 60 for k in range(8, 22)] and [valid_size(n) for n in sizes] == [n - 184 for n in sizes]
    with pytest.raises(UserError, match=r"take 16\*k \+ 60 with k >= 8"):
        jax.eval_shape(UNet(2, padding="VALID").init, KEY, jnp.zeros((1, 570, 572, 1)))


def _size_or_error(n):
    try:
        return valid_size(n)
    except UserError as error:
        return error


def test_skip_carries_dropout_only_in_the_release():
    """With everything dropped at the last level's end, the paper's network still sees it through the skip."""
    image = jax.random.uniform(KEY, (1, 8, 8, 1))
    for release in (False, True):
        module = UNet(1, base=4, levels=1, rate=1.0, release=release)
        params = draw(module, image)
        out = jax.jit(lambda p, x, m=module: m.apply(p, x, train=True, rngs={"dropout": KEY}))(params, image)
        assert (np.ptp(np.asarray(out)[:, 3:5, 3:5]) == 0) == release


def test_start_is_normal_by_fan_in_and_bias():
    @jax.jit
    def start(image):
        params = UNet(1, base=32, levels=1, bias=0.7).init(KEY, image)["params"]
        return params["down1_conv2"]["kernel"], params["out"]["bias"]

    kernel, bias = map(np.asarray, start(jnp.zeros((1, 8, 8, 1))))
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 64)), rtol=0.02)
    assert np.abs(kernel).max() > 3.5 * kernel.std()  # not cut off at two deviations
    np.testing.assert_allclose(bias, 0.7)

"""SegNet, SegNet-Basic and its variants against the same networks of PyTorch's layers, sizes and starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models.segnet import SegNet
from pixlab.models.segnet_basic import FCNBasic, SegNetBasic

KEY = jax.random.key(0)
IMAGE = jax.random.uniform(KEY, (2, 19, 22, 3))  # pools to 10x11, 5x6, 3x3, 2x2
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time

BASIC = {"SegNet-Basic": {}, "EncoderAddition": {"add": True}, "SingleChannelDecoder": {"single": True}}
FCN = {
    "FCN-Basic": {},
    "NoDimReduction": {"reduce": False},
    "Bilinear-Interpolation": {"add": False, "enlarge": "fixed"},
}


class Layers:
    """PyTorch's functions on our variables, by the names of our layers; NCHW inside."""

    def __init__(self, variables, train=False):
        self.torch = pytest.importorskip("torch")
        self.f, self.train = self.torch.nn.functional, train
        self.params, self.stats = variables["params"], variables["batch_stats"]

    def tensor(self, x, *axes):
        return self.torch.from_numpy(np.array(x).transpose(axes or range(np.ndim(x))).copy())

    def conv(self, x, name, groups=1):
        kernel, bias = self.params[name]["kernel"], self.params[name]["bias"]
        padding = kernel.shape[0] // 2
        return self.f.conv2d(x, self.tensor(kernel, 3, 2, 0, 1), self.tensor(bias), padding=padding, groups=groups)

    def norm(self, x, name):
        mean, var = (self.tensor(self.stats[name][key]) for key in ("mean", "var"))
        scale, shift = (self.tensor(self.params[name][key]) for key in ("scale", "bias"))
        return self.f.batch_norm(x, mean, var, scale, shift, self.train, 0.1, 1e-5)

    def pool(self, x):
        return self.f.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)

    def unpool(self, x, places, size):
        return self.f.max_unpool2d(x, places, 2, 2, output_size=size)

    def encode(self, image):
        x, maps, places, sizes = self.f.local_response_norm(255 * self.tensor(image, 0, 3, 1, 2), 5), [], [], []
        for level in (1, 2, 3, 4):
            x = self.f.relu(self.norm(self.conv(x, f"conv{level}"), f"conv{level}_bn"))
            sizes.append(x.shape[2:])
            x, place = self.pool(x)
            maps.append(x)
            places.append(place)
        return maps, places, sizes


def torch_basic(layers, image, add=False, single=False):
    maps, places, sizes = layers.encode(image)
    x = maps[3]
    for level in (3, 2, 1, 0):
        x = layers.unpool(x, places[level], sizes[level])
        name = f"conv_decode{level + 1}"
        x = layers.norm(layers.conv(x, name, x.shape[1] if single else 1), f"{name}_bn")
        if add and level:
            x = x + maps[level - 1]
    return layers.conv(x, "out")


def torch_fcn(layers, image, add=True, reduce=True, enlarge="learned"):
    maps, _, sizes = layers.encode(image)
    if reduce:  # all at once, whether used or not
        maps = [layers.conv(x, f"reduce{i}") if f"reduce{i}" in layers.params else None for i, x in enumerate(maps, 1)]
    x = maps[3]
    for level in (3, 2, 1, 0):
        if enlarge == "learned":
            p = layers.params[f"up{level + 1}"]
            kernel, bias = layers.tensor(p["kernel"], 2, 3, 0, 1), layers.tensor(p["bias"])
            x = layers.f.conv_transpose2d(x, kernel, bias, stride=2, padding=3)
        else:
            x = layers.f.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = x[:, :, : sizes[level][0], : sizes[level][1]]
        if add and level:
            x = x + maps[level - 1]
    return x if reduce else layers.conv(x, "out")


def torch_segnet(layers, image):
    x, pools = 255 * layers.tensor(image, 0, 3, 1, 2), []

    def layer(x, name):
        return layers.f.relu(layers.norm(layers.conv(x, name), f"{name}_bn"))

    for block, convs in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        for index in range(convs):
            x = layer(x, f"conv{block}_{index + 1}")
        size = x.shape[2:]
        x, places = layers.pool(x)
        pools.append((places, size))
    names = "5_3 5_2 5_1|4_3 4_2 4_1|3_3 3_2 3_1|2_2 2_1|1_2"
    for block in names.split("|"):
        x = layers.unpool(x, *pools.pop())
        for name in block.split():
            x = layer(x, f"conv{name}_D")
    return layers.conv(x, "out")


def assert_same(module, image, theirs, train=False, **options):
    variables = draw(module, image)
    expected = theirs(Layers(variables, train), image, **options).numpy().transpose(0, 2, 3, 1)
    out, moved = jit(lambda v, x: module.apply(v, x, train, mutable=["batch_stats"]))(variables, image)
    np.testing.assert_allclose(out, expected, atol=2e-5 * np.abs(expected).max())
    return variables["batch_stats"], moved["batch_stats"]


@pytest.mark.parametrize("name", BASIC)
def test_segnet_basic_is_the_network_in_pytorch(name):
    assert_same(SegNetBasic(3, width=4, **BASIC[name]), IMAGE, torch_basic, **BASIC[name])


@pytest.mark.parametrize("name", FCN)
def test_fcn_basic_is_the_network_in_pytorch(name):
    assert_same(FCNBasic(3, width=4, **FCN[name]), IMAGE, torch_fcn, **FCN[name])


def test_training_is_pytorchs_and_moves_every_statistic():
    before, after = assert_same(SegNetBasic(3, width=4), IMAGE, torch_basic, train=True)
    assert len(before) == 8
    assert all(not np.allclose(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_segnet_is_the_network_in_pytorch():
    image = jax.random.uniform(KEY, (2, 37, 46, 3))
    assert_same(SegNet(3, width=1 / 64), image, torch_segnet)


def test_sizes_of_the_release_and_parameters_by_hand():
    """360x480 pools rounded up; upsample5 and upsample4 of the release are told 23x30 and 45x60."""
    module, image = SegNet(11), jnp.zeros((1, 360, 480, 3))
    shapes = jax.eval_shape(module.init, KEY, image)
    apply = functools.partial(module.apply, capture_intermediates=True, mutable=["intermediates"])
    out, kept = jax.eval_shape(apply, shapes, image)
    assert out.shape == (1, 360, 480, 11)
    sizes = {n: v["__call__"][0].shape[1:] for n, v in kept["intermediates"].items() if n.startswith("conv")}
    encoder = [(360, 480, 64), (180, 240, 128), (90, 120, 256), (45, 60, 512), (23, 30, 512)]
    assert [sizes[f"conv{block}_2"] for block in (1, 2, 3, 4, 5)] == encoder
    decoder = [(180, 240, 64), (90, 120, 128), (45, 60, 256), (23, 30, 512)]
    assert [sizes[f"conv{block}_1_D"] for block in (2, 3, 4, 5)] == decoder
    kernels = [leaf for leaf in jax.tree.leaves(shapes["params"]) if leaf.ndim == 4]
    assert len(kernels) == 26 and len(shapes["batch_stats"]) == 25


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (SegNetBasic(11, add=True), 1_416_587),
        (SegNetBasic(11, single=True), 612_288 + 4 * (49 * 64 + 3 * 64) + 715),
        (FCNBasic(11), 612_288 + 4 * (64 * 121 + 11) + 4 * 715),
        (FCNBasic(11, add=False), 612_288 + 4 * (64 * 121 + 11) + 715),
        (FCNBasic(11, reduce=False), 612_288 + 4 * (64 * 64 * 64 + 64) + 715),
        (FCNBasic(11, add=False, enlarge="fixed"), 612_288 + 715),
    ],
)
def test_parameters_by_hand(module, count):
    """Encoder: 49 * 64 * (3 + 3 * 64) weights, 4 * 3 * 64 biases, scales and shifts; 64 * 11 + 11 to the classes."""
    params = jax.eval_shape(module.init, KEY, jnp.zeros((1, 32, 32, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_starts_of_the_release():
    params = jit(SegNetBasic(3, width=16).init)(KEY, jnp.zeros((1, 16, 16, 3)))["params"]
    kernel = np.asarray(params["conv_decode2"]["kernel"])
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (49 * 16)), rtol=0.02)
    assert np.abs(kernel).max() > 3 * kernel.std()  # not cut off
    np.testing.assert_allclose(params["conv3_bn"]["bias"], 0.001, rtol=1e-6)
    np.testing.assert_array_equal(params["conv_decode1_bn"]["scale"], 1)

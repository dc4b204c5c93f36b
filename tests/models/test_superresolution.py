"""Networks of super-resolution: the same in PyTorch's layers, parameters as counted, and what each is known for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.edsr import EDSR
from pixlab.models.espcn import ESPCN
from pixlab.models.fsrcnn import FSRCNN
from pixlab.models.johnson import StyleNet, SuperResolutionNet
from pixlab.models.mdsr import MDSR
from pixlab.models.srcnn import SRCNN
from pixlab.models.srgan import Discriminator
from pixlab.models.srresnet import SRResNet
from pixlab.models.vdsr import VDSR
from pixlab.net import Net

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time
KEY = jax.random.key(0)


class Torch:
    """PyTorch's layers with our parameters, by their names."""

    def __init__(self, variables, train=False):
        self.params, self.stats, self.train = variables["params"], variables.get("batch_stats", {}), train

    def tensors(self, tree, name):
        import torch

        for part in name.split("/"):
            tree = tree[part]
        return {k: torch.from_numpy(np.array(v)) for k, v in tree.items()}

    def conv(self, x, name, stride=1, pad=None):
        from torch.nn import functional as f

        p = self.tensors(self.params, name)
        pad = p["kernel"].shape[0] // 2 if pad is None else pad
        return f.conv2d(x, p["kernel"].permute(3, 2, 0, 1), p.get("bias"), stride, pad)

    def transposed(self, x, name, stride, pad, more):
        from torch.nn import functional as f

        p = self.tensors(self.params, name)
        return f.conv_transpose2d(x, p["kernel"].permute(2, 3, 0, 1), p.get("bias"), stride, pad, more)

    def prelu(self, x, name):
        from torch.nn import functional as f

        return f.prelu(x, self.tensors(self.params, name)["slope"])

    def batch_norm(self, x, name):
        from torch.nn import functional as f

        p, s = self.tensors(self.params, name), self.tensors(self.stats, name)
        return f.batch_norm(x, s["mean"], s["var"], p["scale"], p["bias"], self.train)

    def instance_norm(self, x, name):
        from torch.nn import functional as f

        p = self.tensors(self.params, name)
        return f.instance_norm(x, None, None, p["scale"], p["bias"])


def fsrcnn(t, x, net):
    for name in ("extract", "shrink", *(f"map{i + 1}" for i in range(net.m)), "expand"):
        x = t.prelu(t.conv(x, name), f"{name}_prelu")
    return t.transposed(x, "enlarge", net.scale, 4, net.scale - 1)


def espcn(t, x, net):
    import torch

    x = t.conv(t.conv(t.conv(x, "conv1").tanh(), "conv2").tanh(), "conv3")
    return torch.nn.PixelShuffle(net.scale)(x)


def vdsr(t, x, net):
    y = x
    for index in range(1, net.depth):
        y = t.conv(y, f"conv{index}").relu()
    return x + t.conv(y, f"conv{net.depth}")


def srresnet(t, x, net):
    import torch

    x = first = t.prelu(t.conv(x, "conv1"), "prelu1")
    for name in (f"block{i + 1}" for i in range(net.blocks)):
        y = t.prelu(t.batch_norm(t.conv(x, f"{name}/conv1"), f"{name}/bn1"), f"{name}/prelu")
        x = x + t.batch_norm(t.conv(y, f"{name}/conv2"), f"{name}/bn2")
    x = t.batch_norm(t.conv(x, "conv2"), "bn2") + first
    for index, r in enumerate({2: (2,), 3: (3,), 4: (2, 2)}[net.scale], 1):
        x = t.prelu(torch.nn.PixelShuffle(r)(t.conv(x, f"up{index}")), f"up{index}_prelu")
    return 0.5 + t.conv(x, "conv3") / 2


def around(x, mean):
    """[0, 1] -> 0..255 around a colour, and the way back."""
    import torch

    mean = 255 * torch.tensor(mean)[:, None, None]
    return 255 * x - mean, lambda y: (y + mean) / 255


DIV2K = (0.4488, 0.4371, 0.4040)
VGG = (123.68 / 255, 116.779 / 255, 103.939 / 255)


def edsr_block(t, x, name, scale=1.0):
    return x + scale * t.conv(t.conv(x, f"{name}/conv1").relu(), f"{name}/conv2")


def enlarged(t, x, name, scale):
    import torch

    for index, r in enumerate({2: (2,), 3: (3,), 4: (2, 2)}[scale], 1):
        x = torch.nn.PixelShuffle(r)(t.conv(x, f"{name}/conv{index}"))
    return x


def edsr(t, x, net):
    x, back = around(x, DIV2K)
    x = head = t.conv(x, "head")
    for index in range(net.blocks):
        x = edsr_block(t, x, f"block{index + 1}", net.residual_scale)
    x = enlarged(t, t.conv(x, "body") + head, "enlarge", net.scale)
    return back(t.conv(x, "tail"))


def mdsr(t, x, net):
    x, back = around(x, DIV2K)
    x = t.conv(x, "head")
    for index in (1, 2):
        x = edsr_block(t, x, f"x{net.scale}_before{index}")
    before = x
    for index in range(net.blocks):
        x = edsr_block(t, x, f"block{index + 1}")
    x = enlarged(t, t.conv(x, "body") + before, f"x{net.scale}_enlarge", net.scale)
    return back(t.conv(x, "tail"))


def johnson_block(t, x, name, norm, pad):
    y = norm(t.conv(x, f"{name}/conv1", pad=pad), f"{name}/norm1").relu()
    y = norm(t.conv(y, f"{name}/conv2", pad=pad), f"{name}/norm2")
    return y + (x if pad else x[..., 2:-2, 2:-2])


def style(t, x, net):
    import torch

    h, w = x.shape[2:]
    pad, norm = 8 * net.blocks, getattr(t, f"{net.norm}_norm")
    x, back = around(x, VGG)
    x = torch.nn.functional.pad(x, (pad, pad + -w % 4, pad, pad + -h % 4), mode="reflect")
    for name, stride in (("conv1", 1), ("down1", 2), ("down2", 2)):
        x = norm(t.conv(x, name, stride), f"{name}_norm").relu()
    for index in range(net.blocks):
        x = johnson_block(t, x, f"block{index + 1}", norm, 0)
    for name in ("up1", "up2"):
        x = norm(t.transposed(x, name, 2, 1, 1), f"{name}_norm").relu()
    return back(150 * t.conv(x, "out").tanh())[..., :h, :w]


def johnson(t, x, net):
    norm = getattr(t, f"{net.norm}_norm")
    x, back = around(x, VGG)
    x = norm(t.conv(x, "conv1"), "conv1_norm").relu()
    for index in range(net.blocks):
        x = johnson_block(t, x, f"block{index + 1}", norm, 1)
    for name in ("up1", "up2", "up3")[: {4: 2, 8: 3}[net.scale]]:
        x = norm(t.transposed(x, name, 2, 1, 1), f"{name}_norm").relu()
    return back(150 * t.conv(x, "out").tanh())


def discriminator(t, x, net):
    from torch.nn import functional as f

    x = f.leaky_relu(t.conv(2 * x - 1, "conv1"), 0.2)
    for index in range(2, 9):
        x = f.leaky_relu(t.batch_norm(t.conv(x, f"conv{index}", 2 - index % 2), f"bn{index}"), 0.2)
    x = x.permute(0, 2, 3, 1).flatten(1)
    for name in ("dense1", "dense2"):
        p = t.tensors(t.params, name)
        x = x @ p["kernel"] + p["bias"]
        x = f.leaky_relu(x, 0.2) if name == "dense1" else x
    return x[:, 0]


SMALL = dict(blocks=2, width=6)
# ours, the same in PyTorch, whether to train, shape of one image
CASES = {
    "fsrcnn3": (FSRCNN(3, d=5, s=3, m=2), fsrcnn, False, (7, 6, 1)),
    "fsrcnn2": (FSRCNN(2, d=5, s=3, m=1), fsrcnn, False, (5, 8, 3)),
    "espcn": (ESPCN(3, (6, 5)), espcn, False, (7, 6, 2)),
    "vdsr": (VDSR(depth=4, width=6), vdsr, False, (9, 8, 1)),
    "srresnet4": (SRResNet(4, **SMALL), srresnet, False, (7, 6, 3)),
    "srresnet3": (SRResNet(3, **SMALL), srresnet, True, (7, 6, 3)),
    "edsr4": (EDSR(4, **SMALL, residual_scale=0.1), edsr, False, (7, 6, 3)),
    "edsr3": (EDSR(3, **SMALL), edsr, False, (7, 6, 3)),
    "mdsr2": (MDSR(**SMALL, scale=2), mdsr, False, (7, 6, 3)),
    "style": (StyleNet(blocks=1, width=3), style, False, (17, 14, 3)),
    "style_batch": (StyleNet(blocks=1, width=3, norm="batch"), style, True, (16, 20, 3)),
    "johnson8": (SuperResolutionNet(8, blocks=1, width=4), johnson, True, (5, 6, 3)),
    "discriminator": (Discriminator(width=3), discriminator, True, (32, 24, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_is_pytorchs(name):
    torch = pytest.importorskip("torch")
    module, reference, train, shape = CASES[name]
    image = jax.random.uniform(KEY, (2, *shape))
    variables = draw(module, image)
    ours, _ = jit(lambda v, x: module.apply(v, x, train, mutable=["batch_stats"]))(variables, image)
    with torch.no_grad():
        seen = torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy())
        theirs = reference(Torch(variables, train), seen, module).numpy()
    theirs = theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 else theirs
    assert ours.shape == theirs.shape and np.ptp(theirs) > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def parameters(module, shape, leaf=None):
    tree = jax.eval_shape(module.init, KEY, jnp.zeros((1, *shape)))["params"]
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return sum(value.size for path, value in leaves if leaf in (None, path[-1].key))


@pytest.mark.parametrize(
    ("scale", "blocks", "width", "count"),
    [(2, 16, 64, 1_369_859), (4, 16, 64, 1_517_571), (2, 32, 256, 40_729_603), (4, 32, 256, 43_089_923)],
)
def test_parameters_of_edsr(scale, blocks, width, count):
    """From one block and from two: each has as many."""
    one, two = (parameters(EDSR(scale, n, width), (8, 8, 3)) for n in (1, 2))
    assert one + (blocks - 1) * (two - one) == count


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_fsrcnn_has_the_same_weights_at_any_scale(scale):
    module = FSRCNN(scale)
    assert parameters(module, (8, 8, 1), "kernel") == 12_464
    assert parameters(module, (8, 8, 1), "slope") == 2 * 56 + 5 * 12


@pytest.mark.parametrize("padding", ["EDGE", "VALID"])
def test_srcnn_by_loops_over_pixels_that_go_on_past_the_border(padding):
    """Every convolution takes the nearest pixel of its own input; away from the border nothing is made up."""
    module = SRCNN((5, 1, 3), (3, 2), padding)
    image = jax.random.uniform(KEY, (1, 6, 9, 1)) - 0.3
    variables = draw(module, image)
    x = np.asarray(image[0], np.float64)
    for index, window in enumerate((5, 1, 3), 1):
        layer, (h, w, _) = variables["params"][f"conv{index}"], x.shape
        kernel = np.asarray(layer["kernel"], np.float64)
        y = np.tile(np.asarray(layer["bias"], np.float64), (h, w, 1))
        for i, j, di, dj in np.ndindex(h, w, window, window):
            row, column = i + di - window // 2, j + dj - window // 2
            y[i, j] += x[min(max(row, 0), h - 1), min(max(column, 0), w - 1)] @ kernel[di, dj]
        x = np.maximum(y, 0) if index < 3 else y
    ours = module.apply(variables, image)[0]
    np.testing.assert_allclose(ours, x if padding == "EDGE" else x[3:-3, 3:-3], atol=1e-5)


def test_mdsr_is_one_network_whatever_scale_is_asked():
    """One Net's parameters serve the others of its name; a scale leaves the others' layers alone."""
    nets = {s: Net("mdsr", MDSR((2, 3), blocks=1, width=4, scale=s), ((1, 5, 6, 3),)) for s in (None, 2, 3)}
    shapes = [jax.eval_shape(net.init, KEY) for net in nets.values()]
    assert all(jax.tree.structure(tree) == jax.tree.structure(shapes[0]) for tree in shapes)
    image = jax.random.uniform(KEY, (2, 5, 6, 3))
    params = {"mdsr": draw(nets[None].module, image)["params"]}
    together = jit(lambda params: nets[None](params, {}, image)[0])(params)
    assert {s: x.shape for s, x in together.items()} == {s: (2, 5 * s, 6 * s, 3) for s in (2, 3)}
    alone = lambda params: nets[3](params, {}, image)[0]  # noqa: E731
    gradient, answer = jit(jax.grad(lambda p: (jnp.sum((x := alone(p)) ** 2), x), has_aux=True))(params)
    np.testing.assert_allclose(answer, together[3], atol=1e-5)
    for name, tree in gradient["mdsr"].items():
        own = not name.startswith("x2")
        assert all(bool(np.any(leaf != 0)) == own for leaf in jax.tree.leaves(tree)), name
    with pytest.raises(UserError, match="enlargement 8: this network has 2, 3"):
        jax.eval_shape(MDSR((2, 3), scale=8).init, KEY, image)


def test_style_keeps_any_size_and_needs_a_border_to_reflect():
    for h, w in ((44, 64), (45, 51)):
        shape = jax.eval_shape(StyleNet(width=2).init_with_output, KEY, jnp.zeros((1, h, w, 3)))[0].shape
        assert shape == (1, h, w, 3)
    with pytest.raises(UserError, match="43x64: at least 44x44"):
        jax.eval_shape(StyleNet(width=2).init, KEY, jnp.zeros((1, 43, 64, 3)))
    with pytest.raises(UserError, match="enlarges 4 or 8 times"):
        jax.eval_shape(SuperResolutionNet(2).init, KEY, jnp.zeros((1, 8, 8, 3)))


def test_what_the_networks_start_from():
    """EDSR as PyTorch starts; He's deviation in VDSR and FSRCNN, whose enlargement starts at 0.001; slopes of 1/4."""
    modules, x = (EDSR(3, blocks=1), VDSR(depth=3), FSRCNN(2)), jnp.zeros((1, 4, 4, 3))
    edsr, vdsr, fsrcnn = jit(lambda: [module.init(KEY, x)["params"] for module in modules])()
    for layer, fan_in in ((edsr["head"], 27), (edsr["block1"]["conv1"], 576), (edsr["enlarge"]["conv1"], 576)):
        for leaf in layer.values():
            assert 0.9 * fan_in**-0.5 < np.abs(leaf).max() <= fan_in**-0.5
            np.testing.assert_allclose(leaf.std(), (fan_in * 3) ** -0.5, rtol=0.2)
    np.testing.assert_allclose(vdsr["conv2"]["kernel"].std(), np.sqrt(2 / 576), rtol=0.02)
    np.testing.assert_allclose(fsrcnn["extract"]["kernel"].std(), np.sqrt(2 / 75), rtol=0.1)
    np.testing.assert_allclose(fsrcnn["enlarge"]["kernel"].std(), 0.001, rtol=0.1)
    assert np.all(fsrcnn["map1_prelu"]["slope"] == 0.25) and not fsrcnn["enlarge"]["bias"].any()

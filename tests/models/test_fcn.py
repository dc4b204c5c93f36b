"""FCN against the same network in PyTorch, its crops against the positions of cells, and its stages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models import fcn
from pixlab.models.fcn import FCN
from pixlab.models.vgg import BLOCKS, VGG16
from pixlab.nn.upsample import triangle_matrix, triangle_upsample

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
Net = functools.partial(FCN, 3, width=1 / 64)
IMAGE = jax.random.uniform(KEY, (2, 35, 50, 3))


def leaves(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def torch_fcn(params, image, module):
    """The release's network written with PyTorch's layers, on our parameters."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def tensor(x, *axes):
        return torch.from_numpy(np.array(x).transpose(axes).copy())

    def conv(x, p, padding=0):
        return f.conv2d(x, tensor(p["kernel"], 3, 2, 0, 1), tensor(p["bias"], 0), padding=padding)

    def deconv(x, stride, name=None):
        classes, n = x.shape[1], 2 * stride
        layer = torch.nn.ConvTranspose2d(classes, classes, n, stride, bias=False)
        taps = 1 - (torch.arange(n) - (n - 1) / 2).abs() / stride
        layer.weight.data = torch.einsum("i,j,cd->cdij", taps, taps, torch.eye(classes))
        if name in params:
            layer.weight.data = tensor(params[name]["kernel"], 2, 3, 0, 1)
        return layer(x)

    def cropped(x, offset, h, w):
        assert x.shape[2] >= offset + h and x.shape[3] >= offset + w
        return x[:, :, offset : offset + h, offset : offset + w]

    mean = torch.tensor([122.67892, 116.66877, 104.00699])[None, :, None, None]
    x, pools = tensor(image, 0, 3, 1, 2) * 255 - mean, []
    for block, (_, convs) in enumerate(BLOCKS, 1):
        for index in range(1, convs + 1):
            pad = 100 if (block, index) == (1, 1) and not module.padded else 1
            x = f.relu(conv(x, params["trunk"][f"conv{block}_{index}"], pad))
        x = torch.nn.MaxPool2d(2, 2, ceil_mode=True)(x)
        pools.append(x)
    fc6 = f.relu(conv(x, params["fc6"], 3 if module.padded else 0))
    x = conv(f.relu(conv(fc6, params["fc7"])), params["score_fr"])
    if module.padded:  # deconvolutions padded by half of their stride put cells where the pools' cells lie
        for name, pool, stride in (("upscore2", 3, 16), ("upscore_pool4", 2, 8)):
            if module.stride <= stride:
                skip = conv(pools[pool], params[f"score_pool{pool + 1}"])
                x = cropped(deconv(x, 2, name), 1, *skip.shape[2:]) + skip
        x = cropped(deconv(x, module.stride), module.stride // 2, *image.shape[1:3])
        return x.detach().numpy().transpose(0, 2, 3, 1)
    weight = (0.01, 0.0001) if module.at_once else (1, 1)
    if module.stride <= 16:
        x = deconv(x, 2, "upscore2")
        x = x + cropped(conv(weight[0] * pools[3], params["score_pool4"]), 5, *x.shape[2:])
    if module.stride <= 8:
        x = deconv(x, 2, "upscore_pool4")
        x = x + cropped(conv(weight[1] * pools[2], params["score_pool3"]), 9, *x.shape[2:])
    x = cropped(deconv(x, module.stride), {32: 19, 16: 27, 8: 31}[module.stride], *image.shape[1:3])
    return x.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    "module",
    [
        Net(32),
        Net(16),
        Net(8),
        Net(8, learn=True),
        Net(8, at_once=True),
        Net(32, padded=True),
        Net(8, padded=True),
        Net(8, padded=True, learn=True),
    ],
    ids=["32s", "16s", "8s", "8s learnt", "8s at once", "32s padded", "8s padded", "8s padded learnt"],
)
def test_is_the_network_in_pytorch(module):
    variables = draw(module, IMAGE)
    if module.at_once:  # else nobody would miss the scaled maps
        variables["params"]["score_pool4"]["kernel"] *= 100
        variables["params"]["score_pool3"]["kernel"] *= 10_000
    assert ("upscore2" in variables["params"]) == module.learn
    ours = jit(module.apply)(variables, IMAGE)
    theirs = torch_fcn(variables["params"], IMAGE, module)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_the_papers_sizes():
    image = jax.ShapeDtypeStruct((1, 500, 500, 3), jnp.float32)
    trunk = VGG16(around=fcn.MARGIN - 1, ceil=True)
    maps = jax.eval_shape(lambda x: trunk.init_with_output(KEY, x, method=VGG16.maps)[0], image)
    assert [maps[name].shape[1] for name in ("relu1_1", *(f"pool{n}" for n in range(1, 6)))] == [
        698, 349, 175, 88, 44, 22,
    ]  # fmt: skip
    out, state = jax.eval_shape(lambda x: FCN(21, 8).init_with_output(KEY, x, capture_intermediates=True), image)
    score = state["intermediates"]["score_fr"]["__call__"][0]
    assert score.shape == (1, 16, 16, 21) and out.shape == (1, 500, 500, 21)
    assert 32 * (16 - 1) + 64 == 544


def test_parameters_of_the_paper():
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    count = lambda **o: sum(  # noqa: E731
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(FCN(21, **o).init, KEY, image)["params"])
    )
    assert count(stride=32) == 134_346_581 and count(stride=8) == 134_362_751
    assert count(stride=8, learn=True) == 134_362_751 + 2 * 4 * 4 * 21 * 21
    fewer = (49 * 512 + 4096 + 1 + 1 + 21) * 4096 - (
        49 * 512 + 512 + 1 + 1 + 21
    ) * 512  # weights of fc6, fc7, score_fr, biases
    assert count(stride=8, units=512, padded=True) == 134_362_751 - fewer


def test_crops_put_every_cell_where_it_looks():
    """Pixel at which a cell lies, on the way through the network and on the way back out."""
    step, at = 1, 1 - fcn.MARGIN  # of conv1_1, 3x3
    centres = {}
    for pool in range(1, 6):
        step, at = 2 * step, at + step / 2
        centres[pool] = at
    centres["fc6"] = at + 3 * step
    # a deconvolution of kernel 2 s puts the middle of cell 0 at 2 s / 2 - 1 / 2
    crop = {32: 31.5 - centres["fc6"]}
    doubled = centres["fc6"] - 1.5 * 16  # cell 0 of the doubled scores
    pool4 = (doubled - centres[4]) / 16
    crop[16] = 15.5 - doubled
    doubled -= 1.5 * 8
    pool3 = (doubled - centres[3]) / 8
    crop[8] = 7.5 - doubled
    assert crop == fcn.CROP and (pool4, pool3) == (fcn.POOL4_CROP, fcn.POOL3_CROP)


def test_padded_scores_lie_where_their_windows_do():
    """Cell i of a pool is centred on the middle of its pixels; the deconvolutions must put its peak there."""
    for stride in (32, 16, 8):
        weights = triangle_matrix(6, 6 * stride, stride, 2 * stride, stride // 2)
        for cell in range(1, 5):
            pixels = np.flatnonzero(weights[:, cell])
            assert pixels.mean() == np.arange(stride * cell, stride * (cell + 1)).mean()
    doubled = triangle_matrix(6, 12, 2, 4, 1)  # two cells of the finer pool for each of the coarser
    np.testing.assert_allclose(doubled[2:10] @ np.arange(6.0), (np.arange(2, 10) - 0.5) / 2)


def test_a_stage_starts_from_the_stage_before():
    """A finer network's first scores are the coarser one's, enlarged on the way of the finer one."""
    coarse = draw(Net(32), IMAGE)["params"]
    _, state = jit(lambda p: Net(32).apply({"params": p}, IMAGE, capture_intermediates=True))(coarse)
    scores = state["intermediates"]["score_fr"]["__call__"][0]
    params = coarse
    for stride in (16, 8):
        fresh = jax.eval_shape(Net(stride).init, KEY, IMAGE)["params"]
        assert set(fresh) - set(params) == {"score_pool4" if stride == 16 else "score_pool3"}
        params = jax.tree.map(lambda like: jnp.zeros(like.shape), fresh) | params  # all new layers start at zero
        assert leaves(params).keys() == leaves(fresh).keys()
        first = jit(Net(stride).apply)({"params": params}, IMAGE)
        h, w = scores.shape[1:3]
        scores = triangle_upsample(scores, (2 * h + 2, 2 * w + 2), factor=2, window=4, crop=0)
        expected = triangle_upsample(
            scores, IMAGE.shape[1:3], factor=stride, window=2 * stride, crop={16: 27, 8: 31}[stride]
        )
        np.testing.assert_allclose(first, expected, atol=1e-5 * np.abs(expected).max())


def test_ways_of_enlarging_agree_on_a_plane():
    """Twice by 2 and by 8 is by 32, for scores that rise evenly: the pictures do not move from stage to stage."""
    rows, cols = np.meshgrid(np.arange(7.0), np.arange(6.0), indexing="ij")
    scores = jnp.asarray(2 * rows - 3 * cols + 1, jnp.float32)[None, :, :, None]
    size = (160, 120)
    outs = {32: triangle_upsample(scores, size, factor=32, window=64, crop=19)}
    for stride in (16, 8):
        h, w = scores.shape[1:3]
        scores = triangle_upsample(scores, (2 * h + 2, 2 * w + 2), factor=2, window=4, crop=0)
        outs[stride] = triangle_upsample(scores, size, factor=stride, window=2 * stride, crop=fcn.CROP[stride])
    y, x = np.meshgrid(np.arange(160), np.arange(120), indexing="ij")
    plane = 2 * (y - 12.5) / 32 - 3 * (x - 12.5) / 32 + 1  # cell i lies at pixel 32 i + 12.5
    for out in outs.values():
        np.testing.assert_allclose(out[0, 40:, 40:, 0], plane[40:, 40:], atol=1e-4)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_any_size_is_covered_to_its_borders(stride):
    """The scores reach all pixels, but fade near them, beyond the outermost cells' middles."""
    for size in range(1, 200):
        cells = size + 2 * fcn.MARGIN - 2
        for _ in range(5):
            cells = -(-cells // 2)
        cells -= 6
        shares = np.eye(cells)
        for _ in range({32: 0, 16: 1, 8: 2}[stride]):
            shares = triangle_matrix(len(shares), 2 * len(shares) + 2, 2, 4, 0) @ shares
        shares = triangle_matrix(len(shares), size, stride, 2 * stride, fcn.CROP[stride]) @ shares
        assert shares.sum(1).min() > 0.5
        np.testing.assert_allclose(shares.sum(1)[25:-25], 1, atol=1e-6)


def test_fixed_learns_the_scores_alone():
    net = Net(16, fixed=True, learn=True)
    params = draw(net, IMAGE)["params"]
    grads = jit(jax.grad(lambda p: jnp.mean(net.apply({"params": p}, IMAGE) ** 2)))(params)
    moving = {name for name, tree in grads.items() if any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree))}
    assert moving == {"score_fr", "score_pool4", "upscore2"}


def test_starts_at_zero_and_bilinear():
    params = jit(Net(8, learn=True).init)(KEY, IMAGE[:1])["params"]
    for name in ("score_fr", "score_pool4", "score_pool3"):
        np.testing.assert_array_equal(params[name]["kernel"], 0)
        np.testing.assert_array_equal(params[name]["bias"], 0)
    kernel = params["upscore2"]["kernel"]
    np.testing.assert_allclose(kernel[1, :, 2, 2], [0.1875, 0.5625, 0.5625, 0.1875])
    np.testing.assert_array_equal(kernel[:, :, 0, 1], 0)


def test_another_stride():
    with pytest.raises(UserError, match="32, 16 or 8"):
        jax.eval_shape(Net(4).init, KEY, IMAGE)

"""One table of all networks and what must hold for each. A new network is a row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models import (
    alexnet,
    ciresan2012,
    context,
    deeplab,
    deeplab_resnet,
    deeppose,
    densenet,
    dilated_frontend,
    dilated_vgg,
    edsr,
    eigen2014,
    eigen_fergus,
    eigen_fergus_labels,
    espcn,
    fcn,
    fcn_alexnet,
    fsrcnn,
    hed,
    hourglass,
    johnson,
    mdsr,
    part_affinity,
    refinenet,
    resnet,
    segnet,
    segnet_basic,
    srcnn,
    srgan,
    srresnet,
    tompson,
    tompson2015,
    unet,
    upsampling,
    vdsr,
    vgg,
    zhang2016,
)
from pixlab.net import Net

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time
W = 0.05  # of the published channel counts
PAPER = (228, 304)
S1, S2 = (64, 14, 19), (55, 74)

# name: (small module, its input shapes, paper's modules and their input shapes, paper's parameter count)
ZOO = {
    "eigen2014_coarse": (eigen2014.Coarse(width=0.02), [(64, 64, 3)], None, 0),
    "eigen2014_fine": (
        eigen2014.Fine(width=0.2), [(24, 20, 3), (4, 3, 1)],
        [(eigen2014.Coarse(), [(*PAPER, 3)]), (eigen2014.Fine(), [(*PAPER, 3), (*S2, 1)])], 70_877_415,
    ),
    "eigen_fergus_1_alexnet": (
        eigen_fergus.Scale1("alexnet", width=0.02), [(64, 64, 3)],
        [(eigen_fergus.Scale1("alexnet"), [(*PAPER, 3)]), (eigen_fergus.Scale2(), [(*PAPER, 3), (14, 19, 64)]),
         (eigen_fergus.Scale3(), [(*PAPER, 3), (*S2, 1), (*S2, 3)])], 125_218_030,
    ),
    "eigen_fergus_1_vgg16": (
        eigen_fergus.Scale1("vgg16", width=0.02), [(36, 36, 3)],
        [(eigen_fergus.Scale1("vgg16"), [(*PAPER, 3)]), (eigen_fergus.Scale2(), [(*PAPER, 3), (14, 19, 64)]),
         (eigen_fergus.Scale3(), [(*PAPER, 3), (*S2, 1), (*S2, 3)])], 217_974_446,
    ),
    "eigen_fergus_head1": (eigen_fergus.Head1(), [(24, 20, 3), (1, 1, 8)], None, 0),
    "eigen_fergus_2": (eigen_fergus.Scale2(width=W), [(24, 20, 3), (1, 1, 8)], None, 0),
    "eigen_fergus_2_alone": (eigen_fergus.Scale2(width=W), [(24, 20, 3)], None, 0),
    "eigen_fergus_3": (eigen_fergus.Scale3(width=0.2), [(24, 20, 3), (4, 3, 1), (4, 3, 3)], None, 0),
    "eigen_fergus_labels_2": (
        eigen_fergus_labels.LabelsScale2(5, width=W), [(24, 20, 3), (1, 1, 8), (24, 20, 1), (24, 20, 3)], None, 0,
    ),
    "eigen_fergus_labels_3": (eigen_fergus_labels.LabelsScale3(5, width=W), [(24, 20, 3), (4, 3, 5)], None, 0),
    "ciresan2012": (
        ciresan2012.N4(width=1 / 8), [(5, 18, 1)], [(ciresan2012.N4(), [(512, 512, 1)])], 219_290,
    ),
    "ciresan2012_patch": (
        ciresan2012.N4(width=1 / 8, dense=False), [(95, 95, 1)],
        [(ciresan2012.N4(dense=False), [(95, 95, 1)])], 219_290,
    ),
    "fcn32s": (fcn.FCN(3, width=1 / 64), [(8, 9, 3)], [(fcn.FCN(21), [(32, 32, 3)])], 134_346_581),
    "fcn16s": (fcn.FCN(3, 16, learn=True, width=1 / 64), [(8, 9, 3)], None, 0),
    "fcn8s": (fcn.FCN(3, 8, width=1 / 64), [(8, 9, 3)], [(fcn.FCN(21, 8), [(32, 32, 3)])], 134_362_751),
    "fcn_alexnet": (fcn_alexnet.FCNAlexNet(3, width=1 / 32), [(8, 9, 3)], None, 0),
    "hed": (hed.HED(width=W), [(8, 9, 3)], [(hed.HED(), [(32, 32, 3)])], 14_716_171),
    "unet": (
        unet.UNet(2, base=4, levels=1), [(13, 14, 1)],
        [(unet.UNet(2, padding="VALID"), [(572, 572, 1)])], 31_030_658,
    ),
    "unet_release": (
        unet.UNet(2, base=4, levels=1, padding="VALID", release=True), [(18, 20, 1)],
        [(unet.UNet(2, padding="VALID", release=True), [(572, 572, 1)])], 31_100_354,
    ),
    "segnet": (segnet.SegNet(3, width=W), [(37, 46, 3)], [(segnet.SegNet(11), [(360, 480, 3)])], 29_449_355),
    "segnet_basic": (
        segnet_basic.SegNetBasic(3, width=8), [(18, 21, 3)],
        [(segnet_basic.SegNetBasic(11), [(360, 480, 3)])], 1_416_587,  # table 1 has 1.425M
    ),
    "fcn_basic": (segnet_basic.FCNBasic(3, width=8), [(18, 21, 3)], None, 0),
    "upsampling_decoder": (upsampling.Decoder(1, kernel=4, layers=2, width=8), [(6, 5, 4)], None, 0),
    "upsampling_encoder": (upsampling.Encoder("strided", 4, layers=2, width=8), [(24, 20, 3)], None, 0),
    "tompson_detector": (tompson.Detector(3, 2, width=4), [(32, 40, 3)], None, 0),
    "tompson2015_coarse": (tompson2015.Coarse(3, width=4), [(48, 64, 3)], None, 0),
    "hourglass": (hourglass.StackedHourglass(3, 2, width=8, order=2), [(32, 48, 3)], None, 0),
    "deeppose": (deeppose.Regressor(6, width=1 / 32), [(64, 64, 3)], None, 0),
    "deeppose_later": (deeppose.JointRegressors(3, width=1 / 32), [(3, 64, 64, 3)], None, 0),
    "part_affinity": (part_affinity.PartAffinity(3, 2, 2, width=W), [(24, 20, 3)], None, 0),
    "srcnn": (srcnn.SRCNN((5, 1, 3), (4, 3), "EDGE"), [(8, 9, 1)], [(srcnn.SRCNN(), [(33, 33, 1)])], 8129),
    "fsrcnn": (fsrcnn.FSRCNN(3, d=6, s=4, m=1), [(6, 7, 1)], None, 0),
    "espcn": (espcn.ESPCN(3, (6, 4)), [(6, 7, 1)], None, 0),
    "vdsr": (vdsr.VDSR(3, 4), [(8, 9, 1)], [(vdsr.VDSR(), [(41, 41, 1)])], 665_921),
    "srresnet": (srresnet.SRResNet(2, blocks=1, width=6), [(6, 7, 3)], None, 0),
    "srgan_discriminator": (srgan.Discriminator(width=2), [(32, 32, 3)], None, 0),
    "edsr": (edsr.EDSR(2, blocks=1, width=6), [(6, 7, 3)], [(edsr.EDSR(4), [(48, 48, 3)])], 1_517_571),
    "mdsr": (mdsr.MDSR((2, 3), blocks=1, width=6), [(6, 7, 3)], None, 0),
    "johnson_style": (johnson.StyleNet(blocks=1, width=4), [(16, 18, 3)], None, 0),
    "johnson_super": (johnson.SuperResolutionNet(4, blocks=1, width=6, norm="instance"), [(6, 7, 3)], None, 0),
    "vgg_features": (vgg.VGGFeatures(19, ("relu1_2", "relu2_2"), width=W), [(16, 18, 3)], None, 0),
    "zhang2016": (
        zhang2016.Colorizer(width=1 / 64, outputs=5), [(32, 40, 1)],
        [(zhang2016.Colorizer(), [(176, 176, 1)])], 32_230_393,
    ),
    "vgg16": (vgg.VGG16(width=W), [(32, 32, 3)], [(vgg.VGG16(), [(32, 32, 3)])], 14_714_688),
    # torchvision's alexnet without its classifier, summed by hand
    "alexnet": (alexnet.AlexNet(width=W), [(63, 63, 3)], [(alexnet.AlexNet(), [(63, 63, 3)])], 2_469_696),
    "resnet50": (
        resnet.ResNet((1, 1, 2), width=W), [(32, 32, 3)], [(resnet.ResNet(), [(32, 32, 3)])], 23_508_032,
    ),
    "dilated_vgg16": (
        dilated_vgg.DilatedVGG16(width=W), [(25, 18, 3)], [(dilated_vgg.DilatedVGG16(), [(33, 33, 3)])], 14_714_688,
    ),
    "dilated_frontend": (
        dilated_frontend.FrontEnd(3, width=1 / 32), [(8, 8, 3)],
        [(dilated_frontend.FrontEnd(21), [(8, 8, 3)])], 134_346_581,
    ),
    "context_basic": (context.Context(), [(12, 9, 4)], [(context.Context(), [(66, 66, 21)])], 28_392),
    "context_large": (
        context.Context(large=True), [(12, 9, 2)], [(context.Context(large=True), [(66, 66, 21)])], 6_803_139,
    ),
    "deeplab_largefov": (
        deeplab.DeepLab(3, width=1 / 32), [(33, 25, 3)], [(deeplab.DeepLab(21), [(33, 33, 3)])], 20_505_429,
    ),
    "deeplab_aspp": (
        deeplab.DeepLab(3, deeplab.ASPP_S, width=1 / 32), [(33, 25, 3)],
        [(deeplab.DeepLab(21, deeplab.ASPP_L), [(33, 33, 3)])], 37_877_652,
    ),
    "deeplab_resnet": (
        deeplab_resnet.DeepLabResNet(3, blocks=(1, 1, 1, 1), width=W), [(33, 25, 3)],
        [(deeplab_resnet.DeepLabResNet(21), [(33, 33, 3)])], 44_048_532,
    ),
    "refinenet": (
        refinenet.RefineNet(3, (1, 1, 1, 1), refinenet.PAPER_OUTPUTS, 2, width=1 / 16), [(36, 32, 3)], None, 0,
    ),
    "densenet169": (densenet.DenseNet((2, 1, 1), growth=4, stem=8), [(32, 40, 3)], None, 0),
}  # fmt: skip
ROUTED = {"segnet", "segnet_basic"}  # values go where maxima were: a tie that rounding makes moves a few far away


@functools.cache
def setting(name):
    """(Net, params, carry, two inputs) of the small network."""
    module, shapes, _, _ = ZOO[name]
    net = Net("net", module, tuple((1, *shape) for shape in shapes))
    rng = np.random.default_rng(1)
    inputs = [jnp.asarray(rng.uniform(0.1, 1, (2, *shape)), jnp.float32) for shape in shapes]
    variables = dict(draw(module, *inputs))
    params = variables.pop("params")
    return net, {"net": params}, {"net": variables} if variables else {}, inputs


@functools.cache
def forward(name):
    net, params, carry, _ = setting(name)
    return jit(lambda *x: net(params, carry, *x)[0])


@functools.cache
def outputs(name):
    return forward(name)(*setting(name)[3])


def close(left, right, tolerance):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * float(jnp.abs(a).max()) + 1e-12)


@pytest.mark.parametrize("name", ZOO)
def test_every_parameter_gets_a_finite_gradient(name):
    net, params, carry, inputs = setting(name)

    def loss(params):
        out, _ = net(params, carry, *inputs, train=True, key=KEY)
        leaves = jax.tree.leaves(out)
        return sum(jnp.mean((leaf - 0.1 * i) ** 2) for i, leaf in enumerate(leaves, 1))

    grads = jit(jax.grad(loss))(params)
    for path, grad in jax.tree_util.tree_flatten_with_path(grads)[0]:
        assert np.all(np.isfinite(grad)), jax.tree_util.keystr(path)
        assert np.any(grad != 0), jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", ZOO)
def test_a_row_does_not_see_its_batch(name):
    inputs = setting(name)[3]
    other = forward(name)(*(x.at[0].set(1 - x[0]) for x in inputs))
    close(jax.tree.map(lambda x: x[1:], outputs(name)), jax.tree.map(lambda x: x[1:], other), 1e-6)
    for leaf in jax.tree.leaves(outputs(name)):
        assert leaf.shape[0] == 2 and np.ptp(np.asarray(leaf), axis=0).max() > 1e-4  # and images do differ


@pytest.mark.parametrize("name", ZOO)
def test_bfloat16_is_near_float32(name):
    net, params, carry, inputs = setting(name)
    half = Net("net", net.module, net.shapes, dtype=jnp.bfloat16)
    out = jit(lambda *x: half(params, carry, *x)[0])(*inputs)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(out))
    if name in ROUTED:
        error, size = np.abs(np.asarray(outputs(name) - out)), float(jnp.abs(outputs(name)).max())
        assert np.quantile(error, 0.97) < 0.1 * size
    else:
        close(outputs(name), out, 0.1)
    inside = jax.eval_shape(
        lambda *x: net.module.apply(
            {"params": jax.tree.map(lambda p: p.astype(jnp.bfloat16), params["net"]), **carry.get("net", {})},
            *(v.astype(jnp.bfloat16) for v in x),
        ),
        *inputs,
    )
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(inside))  # nothing widened on the way


@pytest.mark.parametrize("name", ["eigen_fergus_2", "unet_release", "alexnet", "mdsr"])
def test_neither_jit_nor_the_batch_size_changes_anything(name):
    net, params, carry, inputs = setting(name)
    out, _ = net(params, carry, *inputs)
    close(outputs(name), out, 1e-5)
    alone, _ = net(params, carry, *(x[1:] for x in inputs))
    close(jax.tree.map(lambda x: x[1:], outputs(name)), alone, 1e-5)


@pytest.mark.parametrize("name", [name for name in ZOO if ZOO[name][2]])
def test_parameter_count_is_published(name):
    total = 0
    for module, shapes in ZOO[name][2]:
        inputs = [jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in shapes]
        tree = jax.eval_shape(lambda *x, module=module: module.init(KEY, *x), *inputs)["params"]
        total += sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert total == ZOO[name][3]


def test_parameter_count_of_resnet101():
    params = jax.eval_shape(resnet.ResNet(resnet.RESNET101).init, KEY, jnp.zeros((1, 32, 32, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 42_500_160


def test_parameter_count_of_densenet169():
    variables = jax.eval_shape(densenet.DenseNet().init, KEY, jnp.zeros((1, 32, 32, 3)))
    counts = {k: sum(leaf.size for leaf in jax.tree.leaves(tree)) for k, tree in variables.items()}
    assert sum(counts.values()) == 12_642_880  # Keras counts the statistics: two numbers for each scale and shift
    assert counts["batch_stats"] == 158_400


@pytest.mark.parametrize("name", ["resnet50", "densenet169"])
def test_training_moves_batch_statistics(name):
    net, params, carry, inputs = setting(name)
    _, moved = jit(lambda *x: net(params, carry, *x, train=True, key=KEY))(*inputs)
    before = jax.tree.leaves(carry)
    assert all(not np.allclose(a, b) for a, b in zip(before, jax.tree.leaves(moved), strict=True))

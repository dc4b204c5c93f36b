"""Encoders against the same networks in PyTorch, with its weights taken through a file; and HED's trunk."""

import itertools

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.alexnet import AlexNet
from pixlab.models.densenet import DenseNet
from pixlab.models.eigen_fergus import Scale1
from pixlab.models.part_affinity import BLOCKS
from pixlab.models.resnet import ResNet
from pixlab.models.vgg import VGG, VGG16, VGGFeatures
from pixlab.nn.normalise import CAFFE_MEAN, CAFFE_STD, CAFFENET_MEAN, IMAGENET_MEAN, IMAGENET_STD
from pixlab.pretrained import imagenet
from pixlab.pretrained.files import read_weights

torch = pytest.importorskip("torch")
nn = torch.nn
IMAGE = np.random.default_rng(0).random((2, 64, 72, 3), np.float32)


def batch_norm(channels):
    """With statistics that are not 0 and 1."""
    norm = nn.BatchNorm2d(channels)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, std=0.3)
    norm.running_mean.normal_(std=0.3)
    norm.running_var.uniform_(0.5, 1.5)
    return norm


class TorchVGG(nn.Module):
    def __init__(self, width, counts=(2, 2, 3, 3, 3)):
        super().__init__()
        layers, last = [], 3
        for channels, convs in zip((64, 128, 256, 512, 512), counts, strict=True):
            for _ in range(convs):
                channels_here = round(channels * width)
                layers += [nn.Conv2d(last, channels_here, 3, padding=1), nn.ReLU()]
                last = channels_here
            layers.append(nn.MaxPool2d(2))
        self.features, self.classifier = nn.Sequential(*layers), nn.Sequential(nn.Linear(last, 10))

    def maps(self, x):
        out = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                continue
            if index + 1 < len(self.features) and isinstance(self.features[index + 1], nn.MaxPool2d):
                out[2 ** len(out)] = x
        return out | {32: x}


class TorchAlexNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        a, b, c, d = (round(n * width) for n in (64, 192, 384, 256))
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
            nn.Conv2d(d, d, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(d, 10))

    def maps(self, x):
        out = {}
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                out[f"relu{len(out) + 1}"] = x
        return out | {"pool5": x}


class TorchBottleneck(nn.Module):
    def __init__(self, last, channels, stride, project):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(last, channels, 1, bias=False), batch_norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = batch_norm(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, 4 * channels, 1, bias=False), batch_norm(4 * channels)
        skip = [nn.Conv2d(last, 4 * channels, 1, stride, bias=False), batch_norm(4 * channels)]
        self.downsample = nn.Sequential(*skip) if project else None

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(y)))))
        return torch.relu(y + (self.downsample(x) if self.downsample else x))


class TorchResNet(nn.Module):
    def __init__(self, blocks, base):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), batch_norm(base)
        last = base
        for stage, count in enumerate(blocks):
            channels, layers = base * 2**stage, []
            for index in range(count):
                layers.append(TorchBottleneck(last, channels, 2 if stage and not index else 1, not index))
                last = 4 * channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc, self.stages = nn.Linear(last, 10), len(blocks)

    def maps(self, x):
        out = {2: torch.relu(self.bn1(self.conv1(x)))}
        x = nn.functional.max_pool2d(out[2], 3, 2, 1)
        for stage in range(self.stages):
            out[2 ** (stage + 2)] = x = getattr(self, f"layer{stage + 1}")(x)
        return out


class TorchDenseNet(nn.Module):
    def __init__(self, blocks, growth, stem):
        super().__init__()
        f = self.features = nn.Module()
        f.conv0, f.norm0, last = nn.Conv2d(3, stem, 7, 2, 3, bias=False), batch_norm(stem), stem
        for block, count in enumerate(blocks, 1):
            layers = nn.Module()
            for index in range(1, count + 1):
                layer = nn.Module()
                layer.norm1, layer.conv1 = batch_norm(last), nn.Conv2d(last, 4 * growth, 1, bias=False)
                layer.norm2 = batch_norm(4 * growth)
                layer.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
                setattr(layers, f"denselayer{index}", layer)
                last += growth
            setattr(f, f"denseblock{block}", layers)
            if block < len(blocks):
                transition = nn.Module()
                transition.norm, transition.conv = batch_norm(last), nn.Conv2d(last, last // 2, 1, bias=False)
                setattr(f, f"transition{block}", transition)
                last //= 2
        f.norm5, self.classifier, self.blocks = batch_norm(last), nn.Linear(last, 10), blocks

    def maps(self, x):
        f = self.features
        out = {2: torch.relu(f.norm0(f.conv0(x)))}
        out[4] = x = nn.functional.max_pool2d(out[2], 3, 2, 1)
        for block, count in enumerate(self.blocks, 1):
            for index in range(1, count + 1):
                layer = getattr(getattr(f, f"denseblock{block}"), f"denselayer{index}")
                y = layer.conv1(torch.relu(layer.norm1(x)))
                x = torch.cat([x, layer.conv2(torch.relu(layer.norm2(y)))], 1)
            if block < len(self.blocks):
                transition = getattr(f, f"transition{block}")
                x = nn.functional.avg_pool2d(transition.conv(torch.relu(transition.norm(x))), 2)
                if block < 3:
                    out[2 ** (block + 2)] = x
        return out | {32: f.norm5(x)}


CASES = {
    "vgg16": (lambda: TorchVGG(0.125), VGG16(width=0.125), imagenet.vgg16),
    "alexnet": (lambda: TorchAlexNet(0.125), AlexNet(width=0.125), imagenet.alexnet),
    "resnet": (lambda: TorchResNet((1, 2, 1), 8), ResNet((1, 2, 1), width=0.125), imagenet.resnet),
    "densenet": (
        lambda: TorchDenseNet((2, 2, 1, 1), 4, 8), DenseNet((2, 2, 1, 1), growth=4, stem=8), imagenet.densenet,
    ),
}  # fmt: skip


def published(name, tmp_path, kind):
    torch.manual_seed(0)
    net = CASES[name][0]().eval()
    path = tmp_path / f"{name}.{kind}"
    if kind == "pth":
        torch.save(net.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(net.state_dict(), path)
    return net, read_weights(path)


def fill(name, weights):
    module, convert = CASES[name][1:]
    variables = dict(draw(module, jnp.asarray(IMAGE)))
    trees = [variables["params"]] + ([variables["batch_stats"]] if "batch_stats" in variables else [])
    params, stats = convert(weights, *trees)
    return {"params": params, "batch_stats": stats}


def close(ours, theirs, tolerance=1e-4):
    theirs = theirs.detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_features_are_pytorchs(name, kind, tmp_path):
    net, weights = published(name, tmp_path, kind)
    variables = fill(name, weights)
    if kind == "safetensors":  # the same weights as from .pth, which are compared below
        for key, value in torch.load(_saved(net, tmp_path), weights_only=True).items():
            np.testing.assert_array_equal(weights[key], value.numpy())
        return
    ours = jax.jit(CASES[name][1].apply)(variables, IMAGE)
    normal = (IMAGE - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    with torch.no_grad():
        theirs = net.maps(torch.from_numpy(normal.transpose(0, 3, 1, 2).copy()))
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        close(ours[key], value)


def _saved(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "again.pth")
    return tmp_path / "again.pth"


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_fit_is_named(name, tmp_path):
    _, weights = published(name, tmp_path, "pth")
    first = next(iter(weights))
    wrong = {k: v for k, v in weights.items() if k != first} | {"stranger.weight": np.zeros(3, np.float32)}
    shaped = next(k for k, v in wrong.items() if v.ndim == 4)
    wrong[shaped] = wrong[shaped][..., :1, :] if wrong[shaped].shape[-1] > 1 else wrong[shaped][:, :1]
    with pytest.raises(UserError) as caught:
        fill(name, wrong)
    text = str(caught.value)
    assert "\n" not in text
    for part in (f"missing: {first}", "unexpected: stranger.weight", f"of another shape: {shaped} ("):
        assert part in text


def test_first_densenet_files_have_other_names(tmp_path):
    _, weights = published("densenet", tmp_path, "pth")
    old = {}
    for name, value in weights.items():
        for kind, index in itertools.product(("norm", "conv"), "12"):
            if "denselayer" in name:
                name = name.replace(f".{kind}{index}.", f".{kind}.{index}.")
        old[name] = value
    assert old.keys() != weights.keys()
    jax.tree.map(np.testing.assert_array_equal, fill("densenet", old), fill("densenet", weights))


def test_eigen_fergus_trunk_sees_what_vgg_saw(tmp_path):
    """Its first two convolutions are unpadded: the same maps, two pixels smaller on each side."""
    net, weights = published("vgg16", tmp_path, "pth")
    module = Scale1("vgg16", width=0.125)
    params = draw(module, jnp.asarray(IMAGE))["params"]
    filled = imagenet.eigen_fergus(weights, params)
    assert filled.keys() == params.keys() and filled["fc1"] is params["fc1"]
    trunk = VGG16(0.125, CAFFE_MEAN, CAFFE_STD, first="VALID")
    ours = jax.jit(trunk.apply)({"params": filled["trunk"]}, IMAGE)
    normal = (IMAGE - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    with torch.no_grad():
        theirs = net.maps(torch.from_numpy(normal.transpose(0, 3, 1, 2).copy()))
    close(ours[1], theirs[1][:, :, 2:-2, 2:-2])
    close(ours[2][:, 2:-2, 2:-2], theirs[2][:, :, 3:-3, 3:-3])


def test_eigen_fergus_alexnet_has_no_published_weights(tmp_path):
    _, weights = published("alexnet", tmp_path, "pth")
    params = jax.eval_shape(Scale1("alexnet", width=0.1).init, jax.random.key(0), IMAGE)["params"]
    with pytest.raises(UserError, match='take trunk="vgg16"'):
        imagenet.eigen_fergus(weights, params)


def test_the_first_layers_of_vgg_19():
    """What part affinity fields take of it, up to conv4_2."""
    net = TorchVGG(0.125, (2, 2, 4, 4, 4))
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    module = VGG(0.125, blocks=BLOCKS)
    params, _ = imagenet.vgg19(weights, draw(module, jnp.asarray(IMAGE))["params"])
    ours = jax.jit(module.apply)({"params": params}, IMAGE)[8]
    normal = (IMAGE - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    until = [i for i, layer in enumerate(net.features) if isinstance(layer, nn.Conv2d)][9] + 2
    with torch.no_grad():
        close(ours, net.features[:until](torch.from_numpy(normal.transpose(0, 3, 1, 2).copy())))
    with pytest.raises(UserError, match="these weights do not fit VGG-19"):
        imagenet.vgg19({k: v.numpy() for k, v in TorchVGG(0.125).state_dict().items()}, params)


@pytest.mark.parametrize(
    ("depth", "counts", "places"),
    [
        (16, (2, 2, 3, 3, 3), {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}),  # in PyTorch's `features`
        (19, (2, 2, 4, 4, 4), {"relu5_4": 35, "relu2_2": 8}),
    ],
)
def test_features_by_the_layers_names(depth, counts, places):
    """Where PyTorch's published networks have them; layers past the last one have no parameters."""
    net = TorchVGG(0.0625, counts)
    module = VGGFeatures(depth, tuple(places), width=0.0625)
    params = imagenet.vgg_features({name: value.numpy() for name, value in net.state_dict().items()}, module)
    ours = jax.jit(module.apply)({"params": params}, IMAGE)
    assert set(ours) == set(places) and len(params) == sum(counts[:4]) + (0 if depth == 16 else 4)
    x = torch.from_numpy(((IMAGE - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        for name, place in places.items():
            assert isinstance(net.features[place], nn.ReLU)
            close(ours[name], net.features[: place + 1](x))
    with pytest.raises(UserError, match=f"these weights do not fit VGG-{depth}"):
        imagenet.vgg_features({"features.0.weight": np.zeros((4, 3, 3, 3), np.float32)}, module)


def test_features_that_vgg_does_not_have():
    for module, message in (
        (VGGFeatures(16, ("relu5_4",)), "VGG-16 has no relu5_4: its layers are relu1_1, relu1_2"),
        (VGGFeatures(13), "VGG-13: the depth is 16 or 19"),
    ):
        with pytest.raises(UserError, match=message):
            jax.eval_shape(module.init, jax.random.key(0), IMAGE)


@pytest.mark.parametrize("std", [IMAGENET_STD, CAFFE_STD])
def test_hed_trunk_reads_bgr_of_255(std, tmp_path):
    rng, net, layers = np.random.default_rng(1), TorchVGG(0.125), []
    for block, convs in enumerate((2, 2, 3, 3, 3), 1):
        layers += [f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars" for i in range(convs)]
    with h5py.File(tmp_path / "hed.h5", "w") as file:
        for name, conv in zip(layers, (m for m in net.features if isinstance(m, nn.Conv2d)), strict=True):
            file[f"{name}/0"] = conv.weight.detach().numpy().transpose(2, 3, 1, 0)
            file[f"{name}/1"] = conv.bias.detach().numpy()
        for side in (*(f"dsn{i}" for i in range(1, 6)), "fuse"):
            file[f"{side}/vars/0"] = rng.normal(size=(1, 1, 5, 1))
    mean = IMAGENET_MEAN if std is IMAGENET_STD else CAFFENET_MEAN
    how, module = {"mean": mean, "std": std}, VGG16(0.125, mean, std)
    params, _ = imagenet.hed(read_weights(tmp_path / "hed.h5"), draw(module, jnp.asarray(IMAGE))["params"], **how)
    ours = jax.jit(module.apply)({"params": params}, IMAGE)
    bgr = 255 * IMAGE[..., ::-1] - np.float32([104.00699, 116.66877, 122.67892])
    with torch.no_grad():
        theirs = net.maps(torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy()))
    inside = slice(2, -2) if std is IMAGENET_STD else slice(None)  # padding is another colour
    close(ours[1][:, inside, inside], theirs[1][:, :, inside, inside])
    if std is CAFFE_STD:
        close(ours[32], theirs[32])

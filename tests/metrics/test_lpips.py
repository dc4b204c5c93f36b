"""LPIPS against the same written in PyTorch, with its weights taken through files."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.metrics.lpips import lpips, lpips_metric
from pixlab.models.alexnet import AlexNet
from pixlab.models.vgg import VGG16
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.lpips import lpips as read

WIDTH = 1 / 32
TRUNKS = {"alexnet": AlexNet(width=WIDTH), "vgg16": VGG16(width=WIDTH)}
CHANNELS = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}
A, B = np.random.default_rng(0).random((2, 2, 64, 72, 3), np.float32)
measured = jax.jit(lpips, static_argnums=0)


def weights_of(trunk, seed=0):
    rng = np.random.default_rng(seed)
    linear = tuple(jnp.asarray(rng.random(int(n * WIDTH)), jnp.float32) for n in CHANNELS[trunk])
    return {"trunk": draw(TRUNKS[trunk], jnp.zeros((1, 64, 64, 3)))["params"], "linear": linear}


class Torch:
    """The release's network, layer by layer."""

    def __init__(self, torch, trunk):
        nn = torch.nn
        a, b, c, d, e = (int(n * WIDTH) for n in CHANNELS[trunk])
        if trunk == "alexnet":
            layers = [
                nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), nn.ReLU(),
                nn.MaxPool2d(3, 2), nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
                nn.Conv2d(d, e, 3, padding=1), nn.ReLU(),
            ]  # fmt: skip
            self.taken = (1, 4, 7, 9, 11)
        else:
            layers, last = [], 3
            for n, convs in zip((a, b, c, d, e), (2, 2, 3, 3, 3), strict=True):
                for _ in range(convs):
                    layers, last = [*layers, nn.Conv2d(last, n, 3, padding=1), nn.ReLU()], n
                layers.append(nn.MaxPool2d(2))
            self.taken = (3, 8, 15, 22, 29)
        self.torch = torch
        self.features = nn.Sequential(*layers)
        self.linear = [nn.Conv2d(n, 1, 1, bias=False) for n in (a, b, c, d, e)]
        for conv in self.linear:
            nn.init.uniform_(conv.weight)

    def maps(self, image):
        shift, scale = map(self.torch.tensor, ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
        image = 2 * image.movedim(1, 3) - 1
        x, found = ((image - shift) / scale).movedim(3, 1), []
        for index, layer in enumerate(self.features):
            x = layer(x)
            found += [x] if index in self.taken else []
        return found

    def __call__(self, a, b):
        total = 0
        with self.torch.no_grad():
            a, b = (self.maps(self.torch.from_numpy(x.transpose(0, 3, 1, 2).copy())) for x in (a, b))
            for one, other, conv in zip(a, b, self.linear, strict=True):
                one, other = (x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for x in (one, other))
                total = total + conv((one - other) ** 2).mean((2, 3))[:, 0]
        return total.numpy()

    def save(self, folder):
        torch = self.torch
        torch.save({f"features.{k}": v for k, v in self.features.state_dict().items()}, folder / "trunk.pth")
        torch.save({f"lin{i}.model.1.weight": c.weight.data for i, c in enumerate(self.linear)}, folder / "linear.pth")
        return [read_weights(folder / name) for name in ("trunk.pth", "linear.pth")]


@pytest.mark.parametrize("trunk", TRUNKS)
def test_like_pytorch(trunk, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = Torch(torch, trunk)
    weights = read(TRUNKS[trunk], *theirs.save(tmp_path))
    found = measured(TRUNKS[trunk], weights, A, B)
    np.testing.assert_allclose(found, theirs(A, B), rtol=1e-4)
    assert found.min() > 0.01


@pytest.mark.parametrize("trunk", TRUNKS)
def test_distances(trunk):
    """0 from itself, the same both ways, growing with noise."""
    weights = weights_of(trunk)
    distance = functools.partial(measured, TRUNKS[trunk], weights)
    np.testing.assert_allclose(distance(A, A), 0, atol=1e-12)
    np.testing.assert_allclose(distance(A, B), distance(B, A), rtol=1e-6)
    noise = np.random.default_rng(1).normal(size=A.shape).astype(np.float32)
    levels = [distance(A, A + s * noise) for s in (0.01, 0.05, 0.2)]
    assert (np.diff(np.stack(levels), axis=0) > 0).all()


def test_gradients_are_finite_where_features_are_all_zero():
    weights = weights_of("alexnet")
    first = {name: jnp.full_like(x, 0 if name == "kernel" else -1) for name, x in weights["trunk"]["conv1"].items()}
    dead = weights | {"trunk": weights["trunk"] | {"conv1": first}}
    gradient = jax.jit(jax.grad(lambda a: lpips(TRUNKS["alexnet"], dead, a, jnp.asarray(B)).sum()))(jnp.asarray(A))
    assert np.isfinite(gradient).all()


def test_the_metric_is_the_mean_over_images_of_clipped_predictions():
    weights = weights_of("alexnet")
    metric = lpips_metric(TRUNKS["alexnet"], weights)
    wild = 2 * A - 0.5
    stats = jax.jit(jax.vmap(metric.stats))({"high": jnp.asarray(wild)}, {"high": jnp.asarray(B)})
    expected = np.asarray(measured(TRUNKS["alexnet"], weights, np.clip(wild, 0, 1), B))
    total = metric.merge(*({k: np.asarray(v[row], float) for k, v in stats.items()} for row in (0, 1)))
    assert metric.result(total) == {"lpips": pytest.approx(np.mean(expected), rel=1e-5)}


def test_what_does_not_fit(tmp_path):
    torch = pytest.importorskip("torch")
    classifier, linear = Torch(torch, "alexnet").save(tmp_path)
    trunk = TRUNKS["alexnet"]
    with pytest.raises(UserError, match="do not fit VGG-16"):
        read(TRUNKS["vgg16"], classifier, linear)
    with pytest.raises(UserError, match=r"no lin4\.model\.1\.weight"):
        read(trunk, classifier, {k: v for k, v in linear.items() if "lin4" not in k})
    with pytest.raises(UserError, match=r"lin1\.model\.1\.weight is \(1, 2, 1, 1\) instead of \(1, 6, 1, 1\)"):
        read(trunk, classifier, linear | {"lin1.model.1.weight": linear["lin0.model.1.weight"]})
    with pytest.raises(UserError, match="below 0"):
        read(trunk, classifier, linear | {"lin0.model.1.weight": -linear["lin0.model.1.weight"]})
    small = jnp.zeros((1, 31, 40, 3))
    with pytest.raises(UserError, match="at least 32x32 pixels"):
        lpips(TRUNKS["vgg16"], weights_of("vgg16"), small, small)

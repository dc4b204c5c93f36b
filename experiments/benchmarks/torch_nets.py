"""The networks of pixlab_nets.py in PyTorch: the same layers, so that only the frameworks differ."""

from itertools import pairwise, starmap

import torch
from torch import nn
from torch.nn import functional as f


def relu_conv(channels_in: int, channels: int, window: int, **options) -> nn.Sequential:
    """Convolution that keeps the size, then ReLU."""
    return nn.Sequential(nn.Conv2d(channels_in, channels, window, **{"padding": window // 2, **options}), nn.ReLU(True))


class UNet(nn.Module):
    """pixlab.models.unet.UNet without dropout, padded."""

    def __init__(self, base: int = 32, levels: int = 4):
        super().__init__()
        twice = lambda a, b: nn.Sequential(relu_conv(a, b, 3), relu_conv(b, b, 3))  # noqa: E731
        widths = [base * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(twice(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in reversed(widths[:-1]))
        self.merge = nn.ModuleList(twice(2 * n, n) for n in reversed(widths[:-1]))
        self.out = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        skips = []
        for level, convs in enumerate(self.down):
            x = convs(x if level == 0 else f.max_pool2d(x, 2))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.out(x)


def srcnn() -> nn.Module:
    """pixlab.models.srcnn.SRCNN, 9-5-5 with zeros around."""
    return nn.Sequential(relu_conv(1, 64, 9), relu_conv(64, 32, 5), nn.Conv2d(32, 1, 5, padding=2))


def vgg16() -> nn.Module:
    """pixlab.models.vgg.VGG16 up to pool5, without the input's normalisation."""
    layers, before = [], 3
    for channels, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convs):
            layers, before = [*layers, relu_conv(before, channels, 3)], channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class EDSRBlock(nn.Module):
    """The residual block of EDSR's baseline."""

    def __init__(self, channels: int = 64):
        super().__init__()
        self.body = nn.Sequential(relu_conv(channels, channels, 3), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x):
        return x + self.body(x)


class EigenFergus(nn.Module):
    """Scales 1 and 2 of pixlab.models.eigen_fergus with AlexNet's trunk for 228x304 images, without dropout."""

    def __init__(self):
        super().__init__()
        norm = lambda: nn.LocalResponseNorm(5)  # noqa: E731
        pool = lambda: nn.MaxPool2d(3, 2)  # noqa: E731
        self.trunk = nn.Sequential(
            nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(3, 96, 11, 4), pool(), nn.ReLU(True), norm(),
            nn.Conv2d(96, 256, 5, padding=2), pool(), nn.ReLU(True), norm(),
            relu_conv(256, 384, 3), relu_conv(384, 384, 3), nn.Conv2d(384, 256, 3, padding=1), pool(), nn.ReLU(True),
        )  # fmt: skip
        self.full = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(4096), nn.ReLU(True), nn.Linear(4096, 14 * 19 * 64), nn.ReLU(True)
        )
        self.first = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(3, 96, 9, 2), nn.ReLU(True), pool())
        stack = lambda n: nn.Sequential(  # noqa: E731
            relu_conv(160, 64, 5), relu_conv(64, 64, 5), relu_conv(64, 64, 5), nn.Conv2d(64, n, 5, padding=2)
        )
        self.depth, self.normals = stack(1), stack(3)

    def forward(self, image):
        coarse = self.full(0.01 * self.trunk(255 * image - 128)).view(-1, 64, 14, 19)
        fine = self.first((255 * image - 109.314) / 76.183)
        coarse = f.interpolate(coarse, fine.shape[2:], mode="bilinear")
        x = torch.cat([coarse, fine], 1)
        normals = self.normals(x)
        return torch.cat([self.depth(x), normals * torch.rsqrt((normals**2).sum(1, True) + 1e-4)], 1)


def norm_conv(channels_in: int, channels: int, window: int = 3) -> nn.Sequential:
    """Convolution that keeps the size, then batch normalisation."""
    conv = nn.Conv2d(channels_in, channels, window, padding=window // 2)
    return nn.Sequential(conv, nn.BatchNorm2d(channels, momentum=0.1))


def there_and_back(x: torch.Tensor, down: nn.ModuleList, up: nn.ModuleList) -> torch.Tensor:
    """Encoders with pooling after each, decoders with unpooling before each."""
    pools = []
    for convs in down:
        x = convs(x)
        size = x.shape[2:]
        x, places = f.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        pools.append((places, size))
    for convs in up:
        places, size = pools.pop()
        x = convs(f.max_unpool2d(x, places, 2, output_size=size))
    return x


class SegNet(nn.Module):
    """pixlab.models.segnet.SegNet for 11 classes."""

    def __init__(self):
        super().__init__()
        blocks = (3, 64, 64), (64, 128, 128), (128, *[256] * 3), (256, *[512] * 3), (512, *[512] * 3)
        layer = lambda a, b: nn.Sequential(norm_conv(a, b), nn.ReLU(True))  # noqa: E731
        self.down = nn.ModuleList(nn.Sequential(*starmap(layer, pairwise(w))) for w in blocks)
        up = [list(starmap(layer, pairwise(w[::-1]))) for w in blocks]
        up[0][-1] = nn.Conv2d(64, 11, 3, padding=1)
        self.up = nn.ModuleList(nn.Sequential(*convs) for convs in reversed(up))

    def forward(self, x):
        return there_and_back(255 * x, self.down, self.up)


class SegNetBasic(nn.Module):
    """pixlab.models.segnet_basic.SegNetBasic for 11 classes."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.norm = nn.LocalResponseNorm(5)
        self.down = nn.ModuleList(nn.Sequential(norm_conv(n, width, 7), nn.ReLU(True)) for n in (3, *[width] * 3))
        self.up = nn.ModuleList(norm_conv(width, width, 7) for _ in range(4))
        self.out = nn.Conv2d(width, 11, 1)

    def forward(self, x):
        return self.out(there_and_back(self.norm(255 * x), self.down, self.up))


def srcnn_915() -> nn.Module:
    """pixlab.models.srcnn.SRCNN, 9-1-5 without padding."""
    return nn.Sequential(relu_conv(1, 64, 9, padding=0), relu_conv(64, 32, 1, padding=0), nn.Conv2d(32, 1, 5))


def fsrcnn(d: int = 56, s: int = 12) -> nn.Module:
    """pixlab.models.fsrcnn.FSRCNN for x3."""
    layers = [(1, d, 5), (d, s, 1), *[(s, s, 3)] * 4, (s, d, 1)]
    convs = [nn.Sequential(nn.Conv2d(a, b, n, padding=n // 2), nn.PReLU(b)) for a, b, n in layers]
    return nn.Sequential(*convs, nn.ConvTranspose2d(d, 1, 9, 3, 4, 2))


class VDSR(nn.Module):
    """pixlab.models.vdsr.VDSR."""

    def __init__(self, depth: int = 20, width: int = 64):
        super().__init__()
        middle = [relu_conv(width, width, 3) for _ in range(depth - 2)]
        self.body = nn.Sequential(relu_conv(1, width, 3), *middle, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x):
        return x + self.body(x)


class EDSR(nn.Module):
    """pixlab.models.edsr.EDSR, the baseline for x2, around 0."""

    def __init__(self, blocks: int = 16, width: int = 64):
        super().__init__()
        conv = lambda a, b: nn.Conv2d(a, b, 3, padding=1)  # noqa: E731
        self.head = conv(3, width)
        self.body = nn.Sequential(*[EDSRBlock(width) for _ in range(blocks)], conv(width, width))
        self.tail = nn.Sequential(conv(width, 4 * width), nn.PixelShuffle(2), conv(width, 3))

    def forward(self, x):
        x = self.head(x)
        return self.tail(x + self.body(x))


NETS = {
    "unet": UNet, "srcnn": srcnn, "vgg16": vgg16, "edsr": EDSRBlock, "alexnet": EigenFergus,
    "segnet": SegNet, "segnet_basic": SegNetBasic,
    "srcnn_915": srcnn_915, "fsrcnn": fsrcnn, "vdsr": VDSR, "edsr_baseline": EDSR,
}  # fmt: skip

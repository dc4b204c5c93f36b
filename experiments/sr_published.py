"""What papers on super-resolution report: means of PSNR in dB and SSIM over a test set, by luminance.

As the VDSR paper's table and later ones quote them, copied from third parties' notes, not from the papers' own pages;
"T91" and "ImageNet" are what a network was trained on. SRResNet's and SRGAN's were measured by their authors' own
program.
"""

from __future__ import annotations

from collections.abc import Mapping

_SETS, _SCALES = ("set5", "set14", "bsd100", "urban100"), (2, 3, 4)
_NONE = (None, None, None)
_ROWS = {  # (PSNR, SSIM) at x2, x3, x4 of Set5, of Set14, of BSD100 and of Urban100; None: not known here
    "bicubic": (
        (33.66, 0.9299), (30.39, 0.8682), (28.42, 0.8104),
        (30.24, 0.8688), (27.55, 0.7742), (26.00, 0.7027),
        (29.56, 0.8431), (27.21, 0.7385), (25.96, 0.6675),
        (26.88, 0.8403), (24.46, 0.7349), (23.14, 0.6577),
    ),
    "SRCNN 9-5-5, ImageNet": (
        (36.66, 0.9542), (32.75, 0.9090), (30.48, 0.8628),
        (32.42, 0.9063), (29.28, 0.8209), (27.49, 0.7503),
        (31.36, 0.8879), (28.41, 0.7863), (26.90, 0.7101),
        (29.50, 0.8946), (26.24, 0.7989), (24.52, 0.7221),
    ),
    "SRCNN 9-1-5, T91": (None, (32.39, None), None, *_NONE, *_NONE, *_NONE),
    "FSRCNN": ((37.00, 0.9558), (33.16, None), None, (32.63, 0.9088), None, None, *_NONE, *_NONE),
    "ESPCN, ImageNet": (None, (33.13, None), (30.90, None), None, (29.49, None), (27.73, None), *_NONE, *_NONE),
    "VDSR": (
        (37.53, 0.9587), (33.66, 0.9213), (31.35, 0.8838),
        (33.03, 0.9124), (29.77, 0.8314), (28.01, 0.7674),
        (31.90, 0.8960), (28.82, 0.7976), (27.29, 0.7251),
        (30.76, 0.9140), (27.14, 0.8279), (25.18, 0.7524),
    ),
    "SRResNet": (
        None, None, (32.05, 0.9019), None, None, (28.49, 0.8184), None, None, (27.58, 0.7620), *_NONE,
    ),
    "SRGAN": (None, None, (29.40, 0.8472), None, None, (26.02, 0.7397), None, None, (25.16, 0.6688), *_NONE),
    "EDSR": (
        (38.11, 0.9601), (34.65, 0.9282), (32.46, 0.8968),
        (33.92, 0.9195), (30.52, 0.8462), (28.80, 0.7876),
        (32.32, 0.9013), (29.25, 0.8093), (27.71, 0.7420),
        (32.93, 0.9351), (28.80, 0.8653), (26.64, 0.8033),
    ),
}  # fmt: skip
_DIV2K = {  # PSNR of RGB on DIV2K's validation images at x2, x3, x4, from the EDSR release
    "EDSR baseline": (34.61, 30.92, 28.95),
    "EDSR": (35.03, 31.26, 29.25),
    "MDSR": (34.92, 31.22, 29.24),
}


def published(methods: tuple[str, ...], test: str, scale: int) -> Mapping[str, Mapping[str, float]]:
    """{method: {"psnr", "ssim"}} of these methods on a test set at a scale, as far as it is known."""
    rows = {}
    for method in methods:
        if test == "div2k":
            pair = (_DIV2K[method][_SCALES.index(scale)], None) if method in _DIV2K and scale in _SCALES else None
        elif method in _ROWS and test in _SETS and scale in _SCALES:
            pair = _ROWS[method][3 * _SETS.index(test) + _SCALES.index(scale)]
        else:
            pair = None
        if pair:
            rows[method] = {
                name: value for name, value in zip(("psnr", "ssim"), pair, strict=True) if value is not None
            }
    return rows


def reported_as(column: str, methods: tuple[str, ...], test: str, scale: int) -> dict[str, dict[str, float]]:
    """The same for an experiment's table, whose columns are called `column`/psnr and so on; rows name the test set."""
    rows = published(methods, test, scale)
    return {f"{name} on {test}": {f"{column}/{k}": x for k, x in row.items()} for name, row in rows.items()}

"""The spatial model of Tompson et al. 2014 through Fourier transforms, directly, and in PyTorch.

    python -m experiments.benchmarks.spatial_model                   kernels of 128x128, 4, 9 and 14 joints
    python -m experiments.benchmarks.spatial_model --windows 8 16 32 64 128 --out table.md

Maps of 60x90, batch 8. "forward" is the model's output, "gradients" those of the mean square of the output by maps,
kernels and biases, with the forward pass that they need. Ours splits the batch over all devices; "matrix" is the same
transform as matrix products, "direct" a grouped convolution. PyTorch transforms by `torch.fft`, padded to the same
size. Variants are processes that take turns; each number is the median of its windows, but that of one call where it
takes more than 20 s. Memory is what a call with gradients takes at most beside its arguments, its results included.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.turns import Worker, seconds
from pixlab.plot import plot

BATCH, SIZE = 8, (60, 90)
DIRECT = 16  # pairs up to which the direct convolution is waited for
VARIANTS = ("fft", "matrix", "torch", "direct")


def arrays(joints: int, window: int):
    """Maps [b, h, w, k], kernels [k, k, n, n] and biases [k, k]."""
    rng = np.random.default_rng(0)
    shapes = (BATCH, *SIZE, joints), (joints, joints, window, window), (joints, joints)
    maps, kernels, bias = (rng.standard_normal(shape, np.float32) for shape in shapes)
    return [
        maps,
        kernels - np.float32(2 * np.log(window)),
        bias,
    ]  # so that messages are near 1, and their product finite


def ours(method: str, joints: int, window: int):
    """`SpatialModel`, or the same with a direct convolution."""
    from pixlab import mesh

    mesh.setup()
    import jax
    import jax.numpy as jnp

    from pixlab.models import tompson_spatial
    from pixlab.models.tompson_spatial import SpatialModel

    if method == "direct":
        tompson_spatial.pair_convolutions = direct
    maps, kernels, bias = arrays(joints, window)
    model = SpatialModel(joints, (window, window), method="fft" if method == "direct" else method)
    devices = mesh.make_mesh(BATCH)
    batch = mesh.share_batch({"maps": maps}, devices)["maps"]
    params = mesh.everywhere({"kernel": kernels, "bias": bias}, devices)
    forward = jax.jit(lambda params, maps: model.apply({"params": params}, maps))
    gradients = jax.jit(jax.grad(lambda params, maps: jnp.mean(forward(params, maps) ** 2), (0, 1)))
    runs = {"forward": forward, "gradients": gradients}
    return {
        "runs": {name: lambda run=run: jax.block_until_ready(run(params, batch)) for name, run in runs.items()},
        "facts": np.asarray(forward(params, batch)),
    }


def direct(maps, kernels, method="direct"):
    """`pair_convolutions` by XLA's convolution, which correlates: every kernel is turned round."""
    from jax import lax

    a, v, n, m = kernels.shape
    kernels = kernels[:, :, ::-1, ::-1].swapaxes(0, 1).reshape(v * a, 1, n, m)
    pads = [(k - 1 - k // 2, k // 2) for k in (n, m)]
    out = lax.conv_general_dilated(maps, kernels, (1, 1), pads, feature_group_count=v, precision="highest")
    return out.reshape(len(maps), v, a, *maps.shape[2:]).swapaxes(1, 2)


def torch_fft(joints: int, window: int):
    """The same model in PyTorch, padded as ours is."""
    import torch

    from pixlab.nn.fft import fast_size
    from pixlab.nn.fft_conv import alias_free

    size, half = [fast_size(alias_free(n, window)) for n in SIZE], window // 2
    maps, kernels, bias = (torch.from_numpy(x).requires_grad_() for x in arrays(joints, window))

    def forward():
        positive = maps.permute(0, 3, 1, 2).clamp_min(0.01)
        spectra = torch.fft.rfft2(torch.nn.functional.softplus(kernels), size)
        told = torch.fft.irfft2(torch.fft.rfft2(positive, size)[:, None] * spectra[None], size)
        told = told[..., half : half + SIZE[0], half : half + SIZE[1]].clamp_min(0)
        message = torch.log(told + torch.nn.functional.softplus(bias)[None, :, :, None, None])
        return message.sum(2).exp().permute(0, 2, 3, 1)

    def predict():
        with torch.no_grad():
            return forward()

    def gradients():
        torch.autograd.grad(forward().square().mean(), (maps, kernels, bias))

    return {"runs": {"forward": predict, "gradients": gradients}, "facts": predict().numpy()}


def compare(joints: int, window: int) -> list[Row]:
    """The rows of one size."""
    workers = {method: Worker(ours, (method, joints, window)) for method in ("fft", "matrix")}
    workers["torch"] = Worker(torch_fft, (joints, window))
    if joints**2 <= DIRECT:
        workers["direct"] = Worker(ours, ("direct", joints, window))
    for variant, worker in list(workers.items()):
        if worker.error:
            print(f"{variant}: {worker.error}")
            del workers[variant]
    expected = workers["fft"].facts
    for variant, worker in workers.items():
        off = np.abs(worker.facts - expected).max() / np.abs(expected).max()
        if not off < 1e-4:
            raise SystemExit(f"{variant} gives something else: {off:.0e} of the largest value")
    memory = {variant: worker.memory("gradients") / 1e6 for variant, worker in workers.items()}
    rows = [Row(joints, window, run, seconds(workers, run)) for run in ("forward", "gradients")]
    for worker in workers.values():
        worker.end()
    return [*rows, Row(joints, window, "MB", memory)]


class Row(NamedTuple):
    """One line of the table: seconds of each variant, or megabytes."""

    joints: int
    window: int
    what: str
    values: Mapping[str, float]

    def cells(self) -> list[str]:
        """As text: milliseconds or megabytes, then what the others take of what fft takes."""
        factor, timed = (1e3, True) if self.what != "MB" else (1, False)
        cells = [f"{factor * self.values[v]:.1f}" if v in self.values else "" for v in VARIANTS]
        others = [v for v in VARIANTS if v != "fft"]
        ratios = [f"{self.values[v] / self.values['fft']:.2f}" if v in self.values and timed else "" for v in others]
        return [str(self.joints), str(self.window), self.what, *cells, *ratios]


HEADS = ("joints", "kernel", "", *(f"{v}" for v in VARIANTS), *(f"{v} / fft" for v in VARIANTS if v != "fft"))


def drawing(rows: Sequence[Row]) -> str:
    """SVG of the gradients' time by the kernel's size, of the first number of joints."""
    joints = rows[0].joints
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for variant, value in row.values.items():
            if row.what == "gradients" and row.joints == joints:
                lines.setdefault(variant, []).append((row.window, 1e3 * value))
    axes = dict(x="kernel, cells", y="milliseconds", log_x=True, log_y=True)
    return plot(lines, title=f"Spatial model of {joints} joints, with gradients, batch {BATCH}", **axes)


PAGE = """# The spatial model's convolutions

`python -m experiments.benchmarks.spatial_model`: Tompson et al. 2014's spatial model on maps of 60x90, batch 8, on a
CPU. Milliseconds of a call, and megabytes that one with gradients takes beside its arguments, for Fourier transforms
(fft), the same as matrix products (matrix), PyTorch's transforms of the same size (torch) and a direct convolution
(direct, where it can be waited for); then what the others take of the time of fft. "gradients" has the forward pass in
it; what takes more than 20 s was timed once.

{table}

![Milliseconds by the kernel's size]({picture})
"""


def main() -> None:
    """Print the table as it grows; with --out write it and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joints", nargs="+", type=int, default=[4, 9, 14])
    parser.add_argument("--windows", nargs="+", type=int, default=[128])
    parser.add_argument("--out", type=pathlib.Path, help="Markdown file for the table; the plot is put beside it")
    args = parser.parse_args()
    print(*HEADS, sep=" | ")
    rows: list[Row] = []
    for joints in args.joints:
        for window in args.windows:
            for row in compare(joints, window):
                rows.append(row)
                print(*row.cells(), sep=" | ", flush=True)
    if args.out:
        lines = [HEADS, ["--:"] * len(HEADS), *(row.cells() for row in rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        picture = args.out.with_suffix(".svg")
        picture.write_text(drawing(rows))
        args.out.write_text(PAGE.format(table=table, picture=picture.name))


if __name__ == "__main__":
    main()

"""The spatial model of Tompson et al. 2014 through Fourier transforms, directly, and in PyTorch.

    python -m experiments.benchmarks.spatial_model                   kernels of 128x128, 4, 9 and 14 joints
    python -m experiments.benchmarks.spatial_model --windows 8 16 32 64 128

Maps of 60x90, batch 8. "forward" is the model's output, "gradients" those of the mean square of the output by maps,
kernels and biases. Ours splits the batch over all devices; "matrix" is the same transform as matrix products, "direct"
a grouped convolution. PyTorch transforms by `torch.fft`, padded to the same size. Variants are processes that take
turns; each number is the median of its windows. Memory is what a process took beyond its arrays, at most, gradients
included.
"""

from __future__ import annotations

import argparse

import numpy as np

from experiments.benchmarks.turns import Worker, seconds

BATCH, SIZE = 8, (60, 90)
DIRECT = 16  # pairs up to which the direct convolution is waited for


def arrays(joints: int, window: int):
    """Maps [b, h, w, k], kernels [k, k, n, n] and biases [k, k]."""
    rng = np.random.default_rng(0)
    shapes = (BATCH, *SIZE, joints), (joints, joints, window, window), (joints, joints)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


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


def compare(joints: int, window: int) -> None:
    """Print the rows of one size."""
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
        if off > 1e-4:
            raise SystemExit(f"{variant} gives something else: {off:.0e} of the largest value")
    table = {run: seconds(workers, run, 3 if "direct" in workers else 7) for run in ("forward", "gradients")}
    memory = {variant: worker.memory() for variant, worker in workers.items()}
    for run, row in table.items():
        cells = (f"{1e3 * row[v]:10.1f}" if v in row else f"{'-':>10}" for v in VARIANTS)
        ratios = (f"{row[v] / row['fft']:8.2f}" if v in row else f"{'-':>8}" for v in ("torch", "direct"))
        print(f"{joints:4} {window:4}  {run:9}", *cells, *ratios, flush=True)
    print(
        f"{joints:4} {window:4}  MB       ",
        *(f"{memory[v] / 1e6:10.0f}" if v in memory else f"{'-':>10}" for v in VARIANTS),
    )
    for worker in workers.values():
        worker.end()


VARIANTS = ("fft", "matrix", "torch", "direct")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joints", nargs="+", type=int, default=[4, 9, 14])
    parser.add_argument("--windows", nargs="+", type=int, default=[128])
    args = parser.parse_args()
    print("milliseconds; ratios: the other's time over that of fft")
    heads = [f"{v:>10}" for v in VARIANTS] + [f"{v:>8}" for v in ("torch", "direct")]
    print("   k    n            ", *heads)
    for joints in args.joints:
        for window in args.windows:
            compare(joints, window)


if __name__ == "__main__":
    main()

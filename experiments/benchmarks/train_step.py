"""Forward pass and training step of seven networks against PyTorch, on whatever device is there.

    python -m experiments.benchmarks.train_step               all of them, float32
    python -m experiments.benchmarks.train_step unet srcnn    these
    python -m experiments.benchmarks.train_step --bf16        computing in bfloat16 (for GPUs)

Ours is the trainer's own step: the batch over all devices, state donated. PyTorch runs as it comes (eager), with
channels last, and compiled; the best of the three is what the ratio is taken against. Each variant lives in a process
of its own; they are asked in turn for windows of steps, and each number is the median of its windows. Every step is
plain SGD on the mean square of the outputs. Batch normalisation takes running statistics in the forward pass, the
batch's in a step. FLOPs are those of direct convolution, whatever formula computes them; the limit is the rate of large
matrix products on the same device.
"""

from __future__ import annotations

import argparse

from experiments.benchmarks.turns import Worker, median, seconds

SHAPES = {
    "unet": (4, 128, 128, 3),
    "srcnn": (16, 64, 64, 1),
    "vgg16": (2, 224, 224, 3),
    "edsr": (16, 48, 48, 64),
    "alexnet": (4, 228, 304, 3),
    "segnet": (2, 180, 240, 3),
    "segnet_basic": (2, 180, 240, 3),
}
TORCH = ("eager", "channels_last", "compiled")


def ours(name: str, shape: tuple[int, ...], bf16: bool):
    """The forward pass and the step of a batch [b, h, w, c]; facts: FLOPs of each, and the device's limit."""
    from pixlab import mesh

    mesh.setup()
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from experiments.benchmarks.pixlab_nets import pixlab_net
    from pixlab.core import Aux, Objective, Recipe, Stage
    from pixlab.net import Net
    from pixlab.options import Options
    from pixlab.train import compiled, mesh_of

    module = pixlab_net(name)
    net = Net(name, module, ((1, *shape[1:]),), jnp.bfloat16 if bf16 else jnp.float32)

    def loss(params, carry, batch, key):
        outputs, moved = net(params, carry, batch["image"], train=True, key=key)
        return jnp.mean(outputs**2), Aux(moved)

    def apply(params, carry, batch):
        return net(params, carry, batch["image"])[0]

    stage = Stage(1, {"train": Objective((name,), loss, optax.sgd(1e-4, 0.9))})
    options = Options(batch=shape[0])
    recipe = Recipe(net.init, (stage,), lambda *_: {})
    devices = mesh_of(recipe, options)
    program = compiled(recipe, devices, options)
    key = mesh.everywhere(jax.random.key(0), devices)
    image = np.random.default_rng(0).random(shape, np.float32)
    batch = mesh.share_batch({"image": image}, devices)
    state, predict = program.start(key), jax.jit(apply)
    params, carry = jax.tree.map(jnp.copy, (state.params, state.carry))

    def step():
        nonlocal state
        state, logs = program.steps[0](state, batch, key)
        jax.block_until_ready((state, logs))

    def flops(function, *args):
        return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).cost_analysis()["flops"]

    def limit():
        n = 2048 if jax.default_backend() == "cpu" else 8192
        kind = jnp.bfloat16 if bf16 else jnp.float32
        matrices = mesh.share_batch({"a": np.ones((devices.size, n, n), np.float32)}, devices)["a"].astype(kind)
        product = jax.jit(lambda a: a @ a)
        return 2 * devices.size * n**3 / median(lambda: jax.block_until_ready(product(matrices)))

    facts = {
        "about": f"jax {jax.__version__}, {devices.size} x {jax.devices()[0].device_kind}",
        "forward": flops(apply, params, carry, {"image": image}),
        "step": flops(jax.value_and_grad(lambda p: loss(p, carry, {"image": image}, key)[0]), params),
        "limit": limit(),
    }
    forward = lambda: jax.block_until_ready(predict(params, carry, batch))  # noqa: E731
    return {"runs": {"forward": forward, "step": step}, "facts": facts}


def theirs(name: str, shape: tuple[int, ...], variant: str, bf16: bool):
    """The same from PyTorch."""
    import torch

    from experiments.benchmarks.torch_nets import NETS

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    net, image = NETS[name]().to(device), torch.rand(shape[0], shape[3], *shape[1:3], device=device)
    with torch.no_grad():
        net(image)  # lazy layers take their size
    if variant == "channels_last":
        net, image = net.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), 1e-4, 0.9, fused=True)

    def forward():
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return net(image)

    def gradients():
        loss = forward().float().square().mean()
        loss.backward()
        return loss

    run, run_gradients = (torch.compile(f) if variant == "compiled" else f for f in (forward, gradients))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def predict():
        net.eval()
        with torch.no_grad():
            run()
        wait()

    def step():
        net.train()
        optimiser.zero_grad(set_to_none=True)
        run_gradients()
        optimiser.step()
        wait()

    return {"runs": {"forward": predict, "step": step}, "facts": {"about": f"torch {torch.__version__}"}}


def begin(name: str, shape: tuple[int, ...], bf16: bool) -> dict[str, Worker]:
    """A process for each variant of a network that runs; of others a line says why they do not."""
    workers = {"pixlab": Worker(ours, (name, shape, bf16))}
    workers |= {variant: Worker(theirs, (name, shape, variant, bf16)) for variant in TORCH}
    for variant, worker in list(workers.items()):
        if worker.error:
            print(f"{name:8} {variant}: {worker.error}")
            del workers[variant]
    if "pixlab" not in workers:
        raise SystemExit(2)
    return workers


def compare(name: str, bf16: bool) -> None:
    """Print the rows of one network."""
    workers = begin(name, SHAPES[name], bf16)
    print(f"{name:17} {'; '.join(dict.fromkeys(worker.facts['about'] for worker in workers.values()))}")
    facts = workers["pixlab"].facts
    for what in ("forward", "step"):
        mine, *others = seconds(workers, what).values()
        row = [f"{name:8} {what:8}", *(f"{1e3 * s:13.1f}" for s in (mine, *others))]
        row += [f"{min(others) / mine:8.2f}" if others else f"{'-':>8}"]
        rate = facts[what] / mine
        print(*row, f"{rate / 1e9:9.0f} {100 * rate / facts['limit']:6.0f} %", flush=True)
    for worker in workers.values():
        worker.end()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", choices=[[], *SHAPES], default=[])
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    print("milliseconds; ratio: PyTorch's best over ours; GFLOP/s: ours, and their share of the matrix rate")
    print(f"{'net':17}", *(f"{v:>13}" for v in ("pixlab", *TORCH)), f"{'ratio':>8} {'GFLOP/s':>9} {'share':>8}")
    for name in args.nets or SHAPES:
        compare(name, args.bf16)


if __name__ == "__main__":
    main()

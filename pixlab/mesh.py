"""Devices: the only file that knows that there is more than one.

The devices form a mesh with the axes `data` and `fsdp`. The batch is split over both. Parameters and optimiser state
are the same along `data`; along `fsdp` every device keeps a slice of the large ones, and they are put together only
while a step uses them (fully sharded data parallel; one device along `fsdp` is plain data parallel). A CPU counts as
several devices, one per core, because XLA runs some convolutions on a single core: splitting the batch keeps all busy.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pixlab.errors import UserError
from pixlab.options import Options

Tree = Any
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
HEAVY = 2**26  # parameters
SMALL = 2**14  # numbers: a smaller array is whole on every device, as its transfer would cost more than its memory


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setup() -> None:
    """Set JAX up for training; call it before the first use of a device (later calls change nothing).

    One CPU device per core unless JAX_NUM_CPU_DEVICES or XLA_FLAGS says otherwise, a compilation cache on disk
    (JAX_COMPILATION_CACHE_DIR, default ~/.cache/pixlab/xla) so that a second start does not compile again, and memory
    that the process keeps from step to step.
    """
    keep_memory()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "pixlab" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    chosen = "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not chosen:
        try:
            jax.config.update("jax_num_cpu_devices", cores())
        except RuntimeError:  # a notebook that has used JAX already keeps the devices it has
            pass


def keep_memory() -> None:
    """Let glibc's malloc keep freed memory instead of giving it back to the system; other systems are left alone.

    XLA:CPU allocates its buffers anew for every step, and the system clears each page that it hands out again: an
    eighth of a U-Net's step. Threads have arenas of their own that cannot grow so, hence only one.
    """
    with contextlib.suppress(OSError, AttributeError):  # neither Linux nor glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
            mallopt(parameter, value)


def make_mesh(batch: int, *, devices: int = 0, fsdp: int = 1, there: Sequence[jax.Device] = ()) -> Mesh:
    """A mesh of `devices` devices, `fsdp` of them along that axis; 0: as many as divide the global batch evenly.

    `there` are the devices to choose from, such as those of `topology`; empty: those of this machine. Several hosts
    must use all devices. Raises UserError where the numbers do not go together.
    """
    there = there or jax.devices()
    if devices > len(there):
        raise UserError(f"--devices {devices}: there are {len(there)}")
    count = devices or max(n for n in range(1, len(there) + 1) if batch % n == 0)
    if jax.process_count() > 1 and count != len(there):
        raise UserError(f"batch {batch} does not divide over {len(there)} devices; use a multiple of {len(there)}")
    if batch % count:
        raise UserError(f"--batch {batch} does not divide over {count} devices; use a multiple of {count}")
    if count % fsdp:
        of = "" if count == len(there) else f" of {len(there)}, the most that --batch {batch} divides over"
        raise UserError(f"--fsdp {fsdp} does not divide the {count} devices in use{of}; use a divisor of {count}")
    # By host, so that the rows of a global batch are in the order of the hosts that read them.
    chosen = np.array(sorted(there, key=lambda device: (device.process_index, device.id))[:count])
    return Mesh(chosen.reshape(-1, fsdp), ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


def one_cpu(parameters: int, there: Sequence[jax.Device] = ()) -> bool:
    """Whether the CPU `there` is one device: for HEAVY networks, whose gradients take longer to sum than they gain."""
    there = there or jax.devices()
    here_alone = there[0].platform == "cpu" and len(there) <= cores() and jax.process_count() == 1
    return here_alone and parameters >= HEAVY


def training_mesh(options: Options, there: Sequence[jax.Device] = (), *, parameters: int = 0) -> Mesh:
    """The mesh that `options` ask for, of the devices `there` (empty: of this machine), for networks of so many
    parameters.

    Raises UserError where accelerators would stand idle, or the parts of a batch would leave some without an image.
    """
    there = there or jax.devices()
    devices = options.devices or int(options.fsdp == 1 and one_cpu(parameters, there))
    mesh = make_mesh(options.batch, devices=devices, fsdp=options.fsdp, there=there)
    if not options.devices and mesh.size != len(there) and there[0].platform != "cpu":
        raise UserError(
            f"--batch {options.batch} does not divide over {len(there)} devices; use a multiple of {len(there)}, "
            f"or give --devices {mesh.size}"
        )
    if options.batch % (mesh.size * options.accumulate):
        raise UserError(
            f"--batch {options.batch} does not divide over {mesh.size} devices in {options.accumulate} parts; "
            f"use a multiple of {mesh.size * options.accumulate}"
        )
    return mesh


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that puts a whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def everywhere(tree: Tree, mesh: Mesh) -> Tree:
    """The arrays of `tree`, whole on every device of the mesh."""
    if jax.process_count() == 1:
        return jax.device_put(tree, replicated(mesh))
    return jax.jit(_same, out_shardings=replicated(mesh))(tree)  # device_put reaches the devices of this host alone


def _same(tree: Tree) -> Tree:
    return tree


def split(mesh: Mesh, tree: Tree) -> Tree:
    """The shardings of a tree of arrays or shapes: a large one along its longest axis that `fsdp` divides."""

    def rule(x: Any) -> NamedSharding:
        axes = [axis for axis, length in enumerate(x.shape) if length % mesh.shape["fsdp"] == 0]
        if mesh.shape["fsdp"] == 1 or x.size < SMALL or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "fsdp"))

    return jax.tree.map(rule, tree)


def together(gradient, mesh: Mesh):
    """For `core.make_step`: `gradient` with the parameters put together before and its result split after."""
    if mesh.shape["fsdp"] == 1:
        return gradient
    constrain = jax.lax.with_sharding_constraint

    def sharded(trained: Tree, objective: Any, params: Tree, *rest: Tree) -> tuple[Tree, Tree]:
        trained, params = constrain((trained, params), replicated(mesh))
        value, grads = gradient(trained, objective, params, *rest)
        return value, constrain(grads, split(mesh, grads))

    return sharded


def shared(mesh: Mesh) -> NamedSharding:
    """The sharding that splits an array over all devices along its first axis."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def share_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Host-local numpy batch -> global arrays, split over all devices along the first axis."""
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(shared(mesh), np.asarray(x)), batch)


def on_one_device(tree: Tree, mesh: Mesh) -> Tree:
    """The arrays of `tree`, from the host or whole on every device of the mesh, on the first of this host's devices."""
    here = jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)
    return jax.device_put(here, mesh.local_devices[0])


def wait_on_cpu(tree: Tree) -> None:
    """Wait for arrays that CPU devices compute; accelerators go on by themselves.

    Steps sent ahead of one another starve XLA:CPU's threads now and then: an all-reduce waits until it aborts.
    """
    if jax.default_backend() == "cpu":
        jax.block_until_ready(tree)

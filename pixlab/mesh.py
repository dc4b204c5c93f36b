"""Devices: the only file that knows that there is more than one.

The batch is split over the mesh axis `data`; parameters are the same on every device. A CPU counts as several
devices, one per core, because XLA runs some convolutions on a single core: splitting the batch keeps all cores busy.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pixlab.errors import UserError

Tree = Any


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def setup() -> None:
    """Set JAX up for training; call it before the first use of a device (later calls change nothing).

    One CPU device per core unless JAX_NUM_CPU_DEVICES or XLA_FLAGS says otherwise, and a compilation cache on disk
    (JAX_COMPILATION_CACHE_DIR, default ~/.cache/pixlab/xla) so that a second start does not compile again.
    """
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


def make_mesh(batch: int) -> Mesh:
    """A mesh with axis `data` over as many devices as divide the global batch evenly.

    On one host that is the largest divisor of `batch` up to the device count; several hosts must use all devices.
    Raises UserError if `batch` cannot be split over all devices of several hosts.
    """
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
    if jax.process_count() > 1 and count != len(devices):
        raise UserError(f"batch {batch} does not divide over {len(devices)} devices; use a multiple of {len(devices)}")
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that puts a whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def share_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Host-local numpy batch -> global arrays, split over `data` along the first axis."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch)


def wait_on_cpu(tree: Tree) -> None:
    """Wait for arrays that CPU devices compute; accelerators go on by themselves.

    Steps sent ahead of one another starve XLA:CPU's threads now and then: an all-reduce waits until it aborts.
    """
    if jax.default_backend() == "cpu":
        jax.block_until_ready(tree)


def first_host() -> bool:
    """True on the one process that writes logs."""
    return jax.process_index() == 0

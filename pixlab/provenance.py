"""Where a number comes from: the code, the libraries and the machine that a run was trained with."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import importlib.util
import pathlib
import platform
import subprocess
import sys

import jax

from pixlab.mesh import cores

LIBRARIES = ("jax", "jaxlib", "libtpu", "flax", "optax", "orbax-checkpoint", "grain", "tensorflow-datasets", "numpy")


def provenance() -> dict[str, object]:
    """Date, commit, versions and hardware, as a run's config.json keeps them."""
    device = jax.devices()[0]
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **code(),
        "hardware": f"{jax.device_count()} x {device.device_kind}" if device.platform != "cpu" else _processor(),
    }


def code() -> dict[str, object]:
    """Commit and versions, without asking for a device."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES if _version(name)}}
    return {"commit": commit(), "versions": versions}


def commit() -> str:
    """The commit of the checkout that pixlab is imported from, "+changes" if files differ; "" outside a checkout."""
    root = pathlib.Path(__file__).parents[1]
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def sources(experiment: str) -> dict[str, str]:
    """{file: hash of its contents} of pixlab and of the module `experiment` with what it imports from beside it."""
    package = pathlib.Path(__file__).parent
    files = {f"pixlab/{path.relative_to(package).as_posix()}": path for path in package.rglob("*.py")}
    try:
        spec = importlib.util.find_spec(experiment)
    except (ModuleNotFoundError, ValueError):  # made in a notebook
        spec = None
    if spec and spec.origin:
        loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        ours = {pathlib.Path(file) for file in (spec.origin, *loaded) if file}
        beside = pathlib.Path(spec.origin).parent
        files |= {f"{beside.name}/{path.name}": path for path in ours if path.parent == beside and path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in sorted(files.items())}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's name and the cores used."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    many = "s" if cores() > 1 else ""
    return f"{cores()} core{many} of {names[0] if names else platform.processor() or platform.machine()}"

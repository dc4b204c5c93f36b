"""PyTorch's zip weight files (.pth since PyTorch 1.6) without PyTorch and without running what a pickle asks for.

Inside is `<prefix>/data.pkl`, a pickle in which tensors are calls of `_rebuild_tensor_v2` on storages named by
persistent ids, and `<prefix>/data/<key>`, the bytes of each storage. The unpickler resolves exactly what tensors need.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from pixlab.errors import UserError

_STORAGES = {
    "DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "u2", "LongStorage": "i8",
    "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_PLAIN = {("collections", "OrderedDict"): OrderedDict, ("builtins", "set"): set, ("builtins", "frozenset"): frozenset}
_WRAPPERS = ("state_dict", "model", "params")  # under which training programs put the weights


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The named tensors of the file; nested {"state_dict": ...} is entered, entries that are no tensors are left out.

    bfloat16 becomes float32. Raises UserError: the format before PyTorch 1.6, a damaged file, or a pickle that needs
    anything but tensors and plain containers.
    """
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(4)
        if start[:1] == b"\x80":
            raise UserError(
                f"{path}: written before PyTorch 1.6; convert it where PyTorch is, "
                "torch.save(torch.load(old, 'cpu', weights_only=True), new)"
            )
        raise UserError(f"{path}: cut off or not a PyTorch weight file; fetch it again")
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError(f"{path}: a zip file, but not PyTorch weights (no data.pkl)")
        try:
            with archive.open(pickles[0]) as file:
                tree = _Unpickler(file, archive, pickles[0][: -len("data.pkl")], path).load()
        except (UserError, zipfile.BadZipFile, OSError):
            raise
        except Exception as error:  # a malformed pickle can raise nearly anything
            raise UserError(
                f"{path}: its pickle is damaged ({type(error).__name__}: {error}); fetch it again"
            ) from error
    while isinstance(tree, dict) and (inner := next((k for k in _WRAPPERS if isinstance(tree.get(k), dict)), None)):
        tree = tree[inner]
    arrays = {k: v for k, v in tree.items() if isinstance(v, np.ndarray)} if isinstance(tree, dict) else {}
    if not arrays:
        raise UserError(f"{path}: holds no named tensors; save the network's state_dict()")
    if all(name.startswith("module.") for name in arrays):  # what DataParallel puts before every name
        arrays = {name.removeprefix("module."): value for name, value in arrays.items()}
    return arrays


class _Storage:
    """A storage type, by name; not callable, so that a pickle can do nothing with it but name it."""

    def __init__(self, name: str):
        self.name = name


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, prefix: str, path: Path):
        super().__init__(file)
        self.archive, self.prefix, self.path = archive, prefix, path
        order = f"{prefix}byteorder"
        self.order = ">" if order in archive.namelist() and archive.read(order) == b"big" else "<"
        self.storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "torch" and name in _STORAGES:
            return _Storage(name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        raise UserError(f"{self.path}: asks for {module}.{name}, which is no part of a tensor; nothing of it was run")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage, key, _location, count = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise ValueError("unknown kind of storage")
        if key not in self.storages:
            dtype = np.dtype(self.order + _STORAGES[storage.name])
            info = self.archive.getinfo(f"{self.prefix}data/{key}")
            if info.file_size != count * dtype.itemsize:
                raise ValueError(f"storage {key} has {info.file_size} bytes, not {count * dtype.itemsize}")
            flat = np.frombuffer(self.archive.read(info), dtype).astype(dtype.newbyteorder("="))
            if storage.name == "BFloat16Storage":
                flat = (flat.astype(np.uint32) << 16).view(np.float32)
            self.storages[key] = flat
        return self.storages[key]


def _rebuild(flat, offset, size, stride, *_unused) -> np.ndarray:
    """A tensor as a copy of `size` cells of a storage, `stride` cells apart, from cell `offset` on."""
    if not isinstance(flat, np.ndarray) or len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise ValueError("a tensor's layout makes no sense")
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if count > flat.size or (count and last >= flat.size):
        raise ValueError("a tensor reaches beyond its storage")
    if not count:
        return np.zeros(size, flat.dtype)
    steps = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, steps).copy()

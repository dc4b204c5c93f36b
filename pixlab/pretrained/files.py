"""Weight files as dictionaries of NumPy arrays, without running anything that a file contains."""

import json
import os
import re
from pathlib import Path

import numpy as np

from pixlab.errors import UserError
from pixlab.pretrained.torch_file import read_torch

_SAFE_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read_weights(source: str | os.PathLike) -> dict[str, np.ndarray]:
    """The named arrays of a .safetensors, .npz, .h5 or .pth/.pt file, or of a Hugging Face hub repository.

    A hub id ("timm/vgg16.tv_in1k") gives its model.safetensors, by the optional package huggingface_hub. bfloat16
    becomes float32. Raises UserError: no such file, unknown kind, damaged file, a pickle that asks for anything but
    tensors, hub unreachable.
    """
    path = Path(source)
    if not path.is_file():
        if path.suffix not in _READERS and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(source)):
            path = _from_hub(str(source))
        else:
            raise UserError(
                f"no weight file {source}; give a local file or a Hugging Face id such as timm/vgg16.tv_in1k"
            )
    if path.suffix not in _READERS:
        raise UserError(f"{path}: cannot tell what kind of weights this is; known endings: {', '.join(_READERS)}")
    try:
        return _READERS[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # what a damaged file raises depends on the byte
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged or not a {path.suffix} file ({reason}); fetch it again") from error


def _from_hub(repository: str) -> Path:
    advice = (
        f"fetch its model.safetensors on a machine that can, and give the path of that file instead of {repository}"
    )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UserError(f"{repository}: the hub needs the package huggingface_hub; install it, or {advice}") from error
    try:
        return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the hub's errors have no common base: offline, no such repository, no such file
        raise UserError(f"{repository}: the hub did not give it ({type(error).__name__}); {advice}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("the header is cut off")
    header, body = json.loads(data[8 : 8 + length]), memoryview(data)[8 + length :]
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(body):
            raise ValueError(f"{name} is cut off")
        flat = np.frombuffer(body[start:end], _SAFE_TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        arrays[name] = flat.reshape(entry["shape"]).copy()
    return arrays


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            if item.external or item.is_virtual:
                raise ValueError(f"{name} points into another file")
            arrays[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return arrays


_READERS = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".h5": _read_h5,
    ".hdf5": _read_h5,
    ".pth": read_torch,
    ".pt": read_torch,
}

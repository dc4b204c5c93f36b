"""A trained run as one file that runs without pixlab: StableHLO for JAX, ONNX for other programs.

The program takes what the experiment's `photo` makes of photos, named arrays with a batch axis, and gives the named
maps of the run's prediction. Parameters are constants in it. It is run and compared with the run before it is kept.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import json
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import numpy as np

from pixlab.core import Batch, eval_params
from pixlab.data.images import read_bytes
from pixlab.data.pipeline import Example
from pixlab.errors import UserError
from pixlab.nn.platform import plain
from pixlab.provenance import code
from pixlab.run import Run
from pixlab.train import predict_after

Call = Callable[[Example], Batch]  # {input: array} -> {output: array}
PLATFORMS = ("cpu", "cuda", "tpu")
STRIDES = (1, 2, 4, 8, 16, 32, 64)  # of which rows and columns may have to be multiples
TOLERANCE = 1e-3  # largest difference from the run, as a part of the largest value of a map
NO_ONNX = (
    "jax2onnx and onnxruntime are not installed here; they need an older orbax-checkpoint, so give them an environment "
    "of their own: python -m venv onnx-env && onnx-env/bin/pip install -e '.[onnx]'; then run: "
    "onnx-env/bin/python -m pixlab export RUN --format onnx"
)


def export(run: Run, format: str) -> tuple[bytes, dict[str, Any]]:
    """(the file, what its user should know) of the run's prediction; `format` is a key of FORMATS.

    Raises UserError for another format, an experiment that does not take photos, a network that does not convert, and
    a program whose maps are not the run's.
    """
    if format not in FORMATS:
        raise UserError(f"no format '{format}'; there are {', '.join(FORMATS)}")
    if (photo := run.experiment.photo) is None:
        raise UserError(f"{run.experiment.name} does not say how to predict on photos")
    photos = np.random.default_rng(0).integers(0, 256, (2, 240, 320, 3), np.uint8)
    examples = [photo(run.config, one) for one in photos]
    batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
    state = jax.device_get((eval_params(run.state), run.state.carry))
    predict = predict_after(run.recipe, int(run.state.step))
    baked = functools.partial(predict, *state)
    batch = looked_at(baked, batch)
    data, call, inputs, stride = FORMATS[format](baked, batch)
    batch = cropped(batch, stride)
    with jax.default_device(_cpu()):  # where both round alike; accelerators choose how to multiply anew each time
        theirs, ours = jax.device_get((call(batch), jax.jit(predict)(*state, batch)))
    trained = json.loads((run.folder / "config.json").read_text())
    about = {
        "format": format,
        "inputs": _shapes(inputs),
        "outputs": _shapes(jax.eval_shape(baked, inputs)),
        "photo": " ".join((inspect.getdoc(photo) or "").split("\n\n")[0].split()),
        "difference": check(theirs, ours),
        "experiment": run.experiment.name,
        "config": trained["config"],
        "step": int(run.state.step),
        "trained": trained.get("provenance", {}),
        "exported": {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **code()},
    }
    return data, about | NOTES[format]


def check(theirs: Batch, ours: Batch) -> dict[str, float]:
    """Each map's largest difference as a part of its largest value. Raises UserError above TOLERANCE."""
    differences = {}
    for name, mine in ours.items():
        other = np.asarray(theirs[name], np.float64)
        scale = max(float(np.abs(mine).max()), np.finfo(np.float32).tiny)
        differences[name] = float(np.abs(other - mine).max()) / scale if other.shape == mine.shape else np.inf
        if not differences[name] <= TOLERANCE:
            raise UserError(
                f"the exported program's '{name}' differs from the run's by {differences[name]:.1e} of its largest "
                f"value, more than {TOLERANCE:.0e}: nothing is written"
            )
    return differences


def looked_at(predict: Call, batch: Example) -> Example:
    """The inputs that a prediction reads: examples may have more, such as the truth."""
    seen = set()

    class Looked(dict):
        def __getitem__(self, name):
            seen.add(name)
            return super().__getitem__(name)

    jax.eval_shape(lambda inputs: predict(Looked(inputs)), batch)
    return {name: array for name, array in batch.items() if name in seen}


def stablehlo(predict: Call, batch: Example) -> tuple[bytes, Call, Any, int]:
    """(file, what it does, shapes of its inputs, stride): any batch, and rows and columns that are multiples of the
    stride where that goes."""
    inputs, stride = freest(predict, batch)
    data = bytes(jax.export.export(jax.jit(predict), platforms=PLATFORMS)(inputs).serialize())
    return data, _read(data), inputs, stride


def cropped(batch: Example, stride: int) -> Example:
    """The images of a batch with as many rows and columns as are multiples of `stride`; what else is in it as it is."""
    part = lambda x: x[:, : x.shape[1] // stride * stride, : x.shape[2] // stride * stride]  # noqa: E731
    return {name: part(x) if np.ndim(x) > 3 else x for name, x in batch.items()}


def freest(predict: Call, batch: Example) -> tuple[Any, int]:
    """(the inputs as shapes, with a free batch and with rows and columns as free as `predict` can be traced, and of
    what these are multiples). Images of the batch that are smaller than a stride are not tried with it."""
    for stride in STRIDES:
        if not all(np.size(x) for x in cropped(batch, stride).values()):
            break
        free = f"b, {stride}*h, {stride}*w, ..."  # of images; what else goes in keeps its shape
        shapes = {name: free if np.ndim(x) > 3 else "b, ..." for name, x in batch.items()}
        inputs = jax.export.symbolic_args_specs(batch, shapes)
        try:
            jax.eval_shape(predict, inputs)
            return inputs, stride
        except Exception:  # a network may say in any way that it cannot do without a number
            continue
    return jax.export.symbolic_args_specs(batch, "b, ..."), 1


def load(path) -> Call:
    """The program in a StableHLO file, compiled for each new shape. Raises UserError where it cannot be read."""
    data = read_bytes(path)
    try:
        return _read(data)
    except Exception as error:  # not a program, or one of a jax too far away
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(f"{path}: not a program that jax {jax.__version__} reads ({reason}); export it again") from None


def _read(data: bytes) -> Call:
    return jax.jit(jax.export.deserialize(bytearray(data)).call)


def onnx(predict: Call, batch: Example) -> tuple[bytes, Call, Any, int]:
    """(file, what it does, shapes of its inputs, 1): any batch, the size of `batch` (jax2onnx has no free sizes)."""
    try:
        import jax2onnx
        import onnxruntime
    except ImportError:
        raise UserError(NO_ONNX) from None
    inputs = jax.export.symbolic_args_specs(batch, "b, ...")
    names = list(jax.eval_shape(predict, inputs))

    def positional(*arrays):
        with plain():
            out = predict(dict(zip(inputs, arrays, strict=True)))
        return tuple(out[name] for name in names)

    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of each shape that it computes
    try:
        named = dict(input_names=list(inputs), output_names=names)
        data = jax2onnx.to_onnx(positional, inputs=list(inputs.values()), **named).SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # an operation that either does not know, or 2 GB and more
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(f"this network does not go into ONNX ({reason}); --format stablehlo may take it") from None
    return data, lambda given: dict(zip(names, session.run(names, given), strict=True)), inputs, 1


def _cpu() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        raise UserError("a program is compared on the CPU, which JAX_PLATFORMS leaves out: add cpu to it") from None


def _shapes(tree: Batch) -> dict[str, dict[str, Any]]:
    """Shapes for JSON, free axes as text: {"image": {"shape": ["b", 228, 304, 3], "dtype": "float32"}}."""
    axes = {name: [n if isinstance(n, int) else str(n) for n in x.shape] for name, x in tree.items()}
    return {name: {"shape": axes[name], "dtype": str(x.dtype)} for name, x in tree.items()}


FORMATS = {"stablehlo": stablehlo, "onnx": onnx}
NOTES = {
    "stablehlo": {
        "platforms": PLATFORMS,
        "compatibility": "jax.export reads a file for six months of jax releases after the one that wrote it",
    },
    "onnx": {},
}

"""Weights that come with pixlab: small trained networks, each a folder in `pixlab/weights`.

A folder has `config.json` as a run's has it, `weights.npz` with the parameters of what predicts, and `record.json`,
which says what they score. `python -m experiments.ship` writes it.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from pixlab.core import Nets, Recipe, State
from pixlab.data.images import read_bytes
from pixlab.errors import UserError

FOLDER = pathlib.Path(__file__).parent / "weights"
WEIGHTS, RECORD = "weights.npz", "record.json"


def names() -> list[str]:
    """The shipped names."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}") if not path.parent.name.startswith("."))


def folder_of(run: str | os.PathLike) -> pathlib.Path:
    """`run` itself, or the folder of the shipped weights of this name where `run` is no folder."""
    folder = pathlib.Path(run)
    return FOLDER / folder if not folder.is_dir() and str(folder) in names() else folder


def is_shipped(folder: pathlib.Path) -> bool:
    """Whether a folder has shipped weights in place of checkpoints."""
    return (folder / WEIGHTS).exists()


def write_weights(path: pathlib.Path, params: Nets, carry: Nets, step: int) -> None:
    """Write what predicts after `step` steps: floating-point numbers as float32."""
    np.savez_compressed(path, step=np.int32(step), **as_arrays(params, carry))


def as_arrays(params: Nets, carry: Nets) -> dict[str, np.ndarray]:
    """{"params/NETWORK/LAYER/...": array} of networks, floating-point numbers as float32."""
    flat = flax.traverse_util.flatten_dict({"params": params, "carry": carry}, sep="/")
    arrays = {name: np.asarray(x) for name, x in flat.items()}
    return {n: x.astype(np.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x for n, x in arrays.items()}


def read_weights(path: pathlib.Path, recipe: Recipe) -> State:
    """The state that `write_weights` wrote, on the host, without optimisers and without networks that do not predict.

    Raises UserError if the file is damaged, or holds other networks than `recipe` makes.
    """
    data = read_bytes(path)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = dict(file)
        step, there = arrays.pop("step"), flax.traverse_util.unflatten_dict(arrays, sep="/")
    except Exception as error:  # the reader of a damaged file raises many kinds
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise UserError(f"{path}: damaged ({reason}); install pixlab again") from None
    made = dict(zip(("params", "carry"), jax.eval_shape(recipe.init, jax.random.key(0)), strict=True))
    for kind, nets in there.items():
        for name, tree in nets.items():
            if _shapes(tree) != _shapes(made[kind].get(name)):
                raise UserError(f"{path}: '{name}' is not the network that this code makes; install pixlab again")
    return State(step=step, params=there.get("params", {}), carry=there.get("carry", {}), opt={})


def _shapes(tree: Any) -> Any:
    return jax.tree.map(np.shape, tree)


def listed() -> str:
    """The shipped weights with what they are, what they score and their size, as text."""
    lines = []
    for name in names():
        saved, record = (json.loads((FOLDER / name / file).read_text()) for file in ("config.json", RECORD))
        lines.append(f"{name}: {saved.get('about') or record['command']}")
        rows = [("from", f"{record['command']}, {record['date']}")]
        for part in (record, *record["elsewhere"]):
            scores = ", ".join(f"{metric} {value:.4g}" for metric, value in part["metrics"].items())
            rows.append(("scores", f"{part['data']['name']}: {scores}"))
        rows.append(("size", f"{(FOLDER / name / WEIGHTS).stat().st_size / 1000:.0f} kB"))
        lines += [f"  {what:8} {text}" for what, text in rows] + [""]
    return "\n".join([*lines, "python -m pixlab predict NAME photo.jpg" if lines else "none are shipped"])

"""Ships the weights of a finished and recorded run with pixlab: python -m pixlab predict NAME photo.jpg.

python -m experiments.ship runs/denoise_rooms-quick denoise
python -m experiments.ship runs/denoise_rooms-quick denoise --record experiments/results/denoise_rooms-long.json
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tyro

from experiments.record import RESULTS
from pixlab import mesh, shipped
from pixlab.core import EMA, Nets, eval_params
from pixlab.data.images import read_bytes
from pixlab.errors import UserError
from pixlab.records import Record, check, make_record, public
from pixlab.run import PATIENT, Run, read_config, write_json
from pixlab.train import predict_after

LIMIT = 1_000_000  # bytes of parameters: everybody who installs pixlab downloads them
SAME = ("experiment", "config", "command", "date", "commit", "hardware", "metrics")  # of a run and its record


@dataclasses.dataclass(frozen=True)
class Command:
    """Ship the weights of a finished run with pixlab, with its config and its record."""

    run: tyro.conf.Positional[pathlib.Path]
    """Run folder."""
    name: tyro.conf.Positional[str]
    """What they will be called; weights of that name are replaced."""
    record: str = ""
    """Its record; empty stands for experiments/results/EXPERIMENT-CONFIG.json."""


def ship(command: Command) -> pathlib.Path:
    """Write the folder of the shipped weights; returns its path.

    Raises UserError for a run that is unfinished, has another record or does not predict on photos, and for weights
    that are too large.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", command.name):
        raise UserError(f"{command.name}: give a name of small letters, digits, - and _")
    run = Run.open(command.run)
    if run.unfinished:
        raise UserError(f"{run.unfinished}; give its command again, then ship it")
    saved = read_config(run.folder)
    path = pathlib.Path(command.record or RESULTS / f"{saved['experiment'].rpartition('.')[2]}-{saved['config']}.json")
    record = _record_of(run, path)
    params, carry = needed(run)
    size = sum(array.nbytes for array in shipped.as_arrays(params, carry).values())
    if size > LIMIT:
        raise UserError(f"{run.folder}: its weights are {size / 1e6:.1f} MB; at most {LIMIT / 1e6:g} MB are shipped")
    shipped.FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".", dir=shipped.FOLDER
    ) as temporary:  # until it predicts what the run does
        folder = pathlib.Path(temporary) / command.name
        folder.mkdir()
        about = run.experiment.about.get(saved["config"], "")
        trained = json.loads((run.folder / "config.json").read_text())["provenance"]
        write_json(folder / "config.json", saved | {"fields": _fields(run), "about": about, "provenance": trained})
        write_json(folder / shipped.RECORD, record)
        shipped.write_weights(folder / shipped.WEIGHTS, params, carry, int(run.state.step))
        _compare(run, Run.open(folder))
        place = shipped.FOLDER / command.name
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
    return place


def needed(run: Run) -> tuple[Nets, Nets]:
    """(params, carry) of the networks without which the run does not predict, on the host."""
    if (photo := run.experiment.photo) is None:
        raise UserError(f"{run.experiment.name} does not say how to predict on photos")
    predict = predict_after(run.recipe, int(run.state.step))
    carry = {name: tree for name, tree in run.state.carry.items() if name != EMA}
    kept = {"params": eval_params(run.state), "carry": carry}
    example = {name: np.asarray(x)[None] for name, x in photo(run.config, _noise()).items()}
    for kind in kept:
        for name in list(kept[kind]):
            less = {**kept, kind: {other: tree for other, tree in kept[kind].items() if other != name}}
            if _traces(predict, less["params"], less["carry"], example):
                kept = less
    return jax.device_get((kept["params"], kept["carry"]))


def _traces(predict: Any, *args: Any) -> bool:
    try:
        jax.eval_shape(predict, *args)
        return True
    except Exception:  # a network that is not there may fail in any way
        return False


def _noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def _record_of(run: Run, path: pathlib.Path) -> Record:
    """The record in a file. Raises UserError unless it is of this run."""
    try:
        record = json.loads(read_bytes(path))
        check(record, str(path))
    except (ValueError, TypeError, AttributeError):
        raise UserError(f"{path}: no record; python -m experiments.record {run.folder} makes one") from None
    made = make_record(run, images=record["data"]["images"], data=record["data"]["name"])
    if other := [name for name in SAME if record[name] != made[name]]:
        raise UserError(f"{path}: is of another run (its {', '.join(other)}); give --record, or record this one")
    return record


def _fields(run: Run) -> Mapping[str, Any]:
    """The run's options, without paths and without what is a matter of the machine it was trained on."""
    base = run.experiment.configs[read_config(run.folder)["config"]]
    fields = json.loads(json.dumps(dataclasses.asdict(run.config)))
    own = {name: getattr(base, name) for name in PATIENT if name in fields}
    return {k: [public(x) for x in v] if isinstance(v, list) else public(v) for k, v in (fields | own).items()}


def _compare(run: Run, other: Run) -> None:
    """Raise UserError unless two runs predict the same."""
    ((ours, _),), ((theirs, _),) = run.predict([_noise()]), other.predict([_noise()])
    if wrong := [name for name, x in ours.items() if not np.array_equal(x, theirs[name], equal_nan=True)]:
        raise UserError(f"{run.folder}: does not predict the same '{wrong[0]}' from the weights as they are shipped")


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.ship")
    mesh.setup()
    try:
        print(ship(command))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

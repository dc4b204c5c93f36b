"""Records of finished runs: what was run, on what, what came out; and the README's tables made from them.

A record is a JSON object that stands for itself when the run's folder is gone: the command, the commit, the data, the
machine, the steps, the time, and the scores beside those of the baselines and of the paper. No path of the machine that
it was made on is in it.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pixlab.data.catalogue import CATALOGUE
from pixlab.data.photos import split_names
from pixlab.data.pipeline import eval_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.options import Options
from pixlab.run import PATIENT, Experiment, Run

Record = dict[str, Any]
KINDS = {
    "experiment": str, "config": str, "command": str, "date": str, "commit": str, "versions": dict, "hardware": str,
    "data": dict, "steps": list, "seconds": float, "paused": bool, "metrics": dict, "baselines": dict,
    "published": dict, "elsewhere": list, "paper": str, "unlike_paper": dict, "note": str,
}  # fmt: skip
MAY_BE_EMPTY = {"versions", "paused", "baselines", "published", "elsewhere", "paper", "unlike_paper", "note"}
PUBLISHED = " (published)"
_PATH = re.compile(r"(?<![\w.)\]/])(?:~?/[\w.]|[A-Za-z]:\\)")  # of a machine: /home, ~/data, C:\data


def make_record(
    run: Run,
    *,
    images: Mapping[str, int],
    data: str = "",
    elsewhere: Sequence[Record] = (),
    version: str = "",
    note: str = "",
) -> Record:
    """The record of a finished run.

    `images` counts those of each split of the run's data, which `data` describes; `elsewhere` has scores on other data
    (see `scores_elsewhere`); `version` is pixlab's. Seconds are those from the start of the run to its end. If it was
    stopped and went on, that is with the time in between, and `paused` says so. Raises UserError if the run has not
    ended, does not say where it comes from, or has a score that is not finite.
    """
    result, status = run.result, _read(run.folder / "status.json")
    saved = _read(run.folder / "config.json")
    origin = saved.get("provenance") or {}
    if status.get("state") != "finished":
        raise UserError(f"{run.folder}: is {status.get('state', 'not begun')}, not finished; give its command again")
    if not origin.get("commit"):
        raise UserError(f"{run.folder}: does not say from which commit it was trained; train it from a git checkout")
    rows = {row[0]: _scores(result["columns"], row) for row in result["rows"]}
    later = saved.get("resumed", [])
    elapsed = status["time"] - datetime.datetime.fromisoformat(origin["started"]).timestamp()
    paused = bool(later)
    source = public(getattr(run.config, "source", ""))
    tested = {"test": public(run.config.test)} if getattr(run.config, "test", "") else {}
    name = data or tested.get("test") or source or "its own"
    record = {
        "experiment": run.experiment.name,
        "config": saved["config"],
        "command": command(run.experiment, saved["config"], run.config),
        "date": origin["started"][:10],
        "commit": " ".join(dict.fromkeys(start["commit"] for start in [origin, *later])),
        "versions": {**({"pixlab": version} if version else {}), **origin["versions"]},
        "hardware": origin["hardware"],
        "data": {"name": name, "source": source, **tested, "images": dict(images)},
        "steps": status["stages"],
        "seconds": round(float(max(elapsed, result["seconds"])), 1),
        "paused": paused,
        "metrics": rows.pop("this run"),
        "baselines": {name: row for name, row in rows.items() if not name.endswith(PUBLISHED)},
        "published": {n.removesuffix(PUBLISHED): row for n, row in rows.items() if n.endswith(PUBLISHED)},
        "elsewhere": list(elsewhere),
        "paper": run.experiment.papers(run.config),
        "unlike_paper": unlike_paper(run.experiment, run.config),
        "note": note,
    }
    check(record, str(run.folder))
    return record


def scores_elsewhere(run: Run, source: str, data: str = "") -> Record:
    """{"data", "metrics", "baselines"} of a run on the test images of another `source`, which `data` describes.

    The baselines are fitted to the run's own training images, as the run is.
    """
    other, metrics = run.data(source), run.on(source).recipe.metrics
    own = run.experiment.baselines(run.config, run.experiment.data(run.config))
    empty = run.state.replace(params={}, carry={})
    rows = {
        name: Evaluator(predict, metrics, run.mesh)(state, eval_batches(other, "test"))
        for name, predict, state in [("", run.recipe.predict, run.state), *((n, p, empty) for n, p in own.items())]
    }
    about = {
        "name": data or public(source),
        "source": public(source),
        "images": {"test": len(other.splits["test"].source)},
    }
    return {"data": about, "metrics": rows.pop(""), "baselines": rows}


def command(experiment: Experiment, name: str, config: Options) -> str:
    """The command line that gives the same result: the config's name and the options that differ from it."""
    base, words = experiment.configs[name], ["python", "-m", experiment.name, name]
    for option, (value, _) in _differences(config, base).items():
        flag = f"--{option.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{option.replace('_', '-')}")
        else:
            words += [flag, *map(str, value if isinstance(value, tuple | list) else [value])]
    return shlex.join(words)


def unlike_paper(experiment: Experiment, config: Options) -> dict[str, list]:
    """{option: [here, in the paper's config]} where the two differ; {} if no config is the paper's."""
    if not (paper := experiment.papers(config)):
        return {}
    pairs = _differences(config, experiment.configs[paper])
    return json.loads(json.dumps({option: pair for option, pair in pairs.items() if option != "seed"}))


def check(record: Mapping[str, Any], where: str) -> None:
    """Raise UserError, naming `where`, unless the record has every field, finite scores and no machine's path."""
    wrong = sorted(set(KINDS) ^ set(record)) or sorted(
        name
        for name, kind in KINDS.items()
        if not isinstance(record[name], kind) or not (record[name] or name in MAY_BE_EMPTY)
    )
    if wrong:
        raise UserError(f"{where}: the record's {', '.join(wrong)} is missing, empty or unknown; record the run again")
    sets = [record, *record["elsewhere"]]
    rows = [row for part in sets for row in (part["metrics"], *part["baselines"].values())]
    for row in (*rows, *record["published"].values()):
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{where}: {name} is {value}; only finite scores can be recorded")
    if paths := [text for text in _strings(record) if _PATH.search(text)]:
        raise UserError(f"{where}: a record must hold no path of a machine, but has {paths[0]!r}; say it without")


def public(value: Any) -> Any:
    """A value without a path of this machine: `rgbd_folder:PATH` for any path there, of other paths the last part.

    Names of the catalogue, such as flic:full, are as they are.
    """
    if not isinstance(value, str) or value in {entry.name for entry in CATALOGUE}:
        return value
    if len(parts := split_names(value)) > 1:
        return "+".join(map(public, parts))
    name, colon, rest = value.partition(":")
    if colon and rest and name.isidentifier() and len(name) > 1:
        return f"{name}:PATH"
    path = pathlib.PurePath(value)
    outside = path.is_absolute() or path.parts[:1] in ((".",), ("..",), ("~",)) or re.match(r"[A-Za-z]:\\", value)
    return f"PATH/{pathlib.PureWindowsPath(value).name}" if outside else value


def read_records(folder: str | pathlib.Path) -> dict[str, Record]:
    """{name: record} of every `NAME.json` in `folder`, by name. Raises UserError for one that is not a record."""
    records = {path.stem: _read(path) for path in sorted(pathlib.Path(folder).glob("*.json"))}
    for name, record in records.items():
        check(record, f"{name}.json")
    return records


def _differences(config: Options, base: Options) -> dict[str, tuple[Any, Any]]:
    """{option: (in config, in base)}, without the options that leave the result as it is and without paths."""
    values, theirs = dataclasses.asdict(config), dataclasses.asdict(base)
    chosen = [name for name in values if name not in PATIENT and values[name] != theirs.get(name)]
    return {name: (public(values[name]), public(theirs.get(name))) for name in chosen}


def _scores(columns: list[str], row: list) -> dict[str, float]:
    return {name: value for name, value in zip(columns[1:], row[1:], strict=True) if value is not None}


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in (*value, *value.values()) for text in _strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; give the run's command again") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{path}: damaged; make it anew")
    return value

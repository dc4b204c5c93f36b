"""The README's results: a table for each task with every recorded run, its baselines and the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pixlab.errors import UserError
from pixlab.progress import duration
from pixlab.records import PUBLISHED, Record

BEGIN, END = "<!-- results -->", "<!-- /results -->"
TITLES = {
    "depth": "Depth (rmse in metres)",
    "normal": "Surface normals (mean and median in degrees, within in % of the pixels)",
    "label": "Semantic labels",
    "membrane": "Membranes (errors as fractions)",
    "pose_r5": "Pose (% of the joints within 5 % of the torso: PCK@0.05)",
    "pose_r10": "Pose (% of the joints within 10 % of the torso)",
    "pose_r20": "Pose (% of the joints within 20 % of the torso: PCK@0.2)",
    "pose_pckh50": "Pose (% of the joints within half a head: PCKh@0.5)",
    "pose_sigma": "Pose (by how many pixels of the network's input joints that are found are off)",
    "people_r20": "People (% within 20 % of the torso)",
    "colour": "Colours (area under the accuracy and accuracy within 20 units of ab in %, PSNR in dB)",
    "repair": "Heat-maps repaired (% of all joints, of the wrong ones, of the right ones)",
}


TITLES |= {
    f"{kind}_x{scale}": f"Super-resolution x{scale} ({what})"
    for kind, what in (
        ("luminance", "PSNR in dB and SSIM of luminance, from luminance never rounded when small"),
        ("rgb_luminance", "PSNR in dB and SSIM of the luminance of 8-bit colours"),
        ("rgb", "PSNR in dB and SSIM of 8-bit colours"),
    )
    for scale in (2, 3, 4, 8)
}
TITLES["outline"] = "Outlines of semantic labels"
TITLES["boundary"] = "Boundaries (the Berkeley benchmark's scores)"
TITLES["style_loss"] = "Style transfer (losses)"
EACH = "iu"  # scores of each class, which the records have and the README does not
DECIMALS = {"psnr": 2, "ssim": 4}  # as papers have them


class Row(NamedTuple):
    """A row of a table: what predicts, on which data, its scores by column, and the numbers of the runs it is from."""

    name: str
    data: str
    scores: Mapping[str, float]
    runs: tuple[int, ...]
    ours: bool = False


def rows(records: Sequence[Record], task: str) -> list[Row]:
    """The rows that have scores of `task`, runs first, then baselines, then published figures; equal ones once."""
    found: list[Row] = []
    for number, data, name, scores, ours in _entries(records):
        part = {key: value for key, value in scores.items() if _task(key) == task}
        same = [i for i, row in enumerate(found) if row[:3] == (name, data, part) and not ours]
        if same:
            found[same[0]] = found[same[0]]._replace(runs=(*found[same[0]].runs, number))
        elif part:
            found.append(Row(name, data, part, (number,), ours))
    return found


def _entries(records: Sequence[Record]) -> list[tuple[int, str, str, Mapping[str, float], bool]]:
    """(number of the run, data, name, scores, whether it is a run) of all rows: runs, baselines, published figures."""
    runs, baselines, published = [], [], []
    for number, record in enumerate(records, 1):
        title = f"{record['experiment'].rpartition('.')[2]} {record['config']}"
        for part in (record, *record["elsewhere"]):
            data = f"{part['data']['name']}, {part['data']['images']['test']} images"
            runs.append((number, data, title, part["metrics"], True))
            baselines += [(number, data, name, scores, False) for name, scores in part["baselines"].items()]
        published += [(number, "", name + PUBLISHED, scores, False) for name, scores in record["published"].items()]
    return runs + baselines + published


def section(records: Mapping[str, Record]) -> str:
    """The text between the README's marks: a table for each task, then for each run how it was made."""
    if not records:
        return ""
    runs = list(records.values())
    tasks = dict.fromkeys(_task(name) for record in runs for name in record["metrics"])
    order = [task for task in TITLES if task in tasks] + [task for task in tasks if task not in (*TITLES, EACH)]
    tables = [f"### {TITLES.get(task, task)}\n\n{_table(rows(runs, task))}" for task in order]
    made = [f"{number}. {_made(record)}" for number, record in enumerate(runs, 1)]
    return "\n\n".join([*tables, "### How the runs were made", "\n".join(made)])


def replace_section(readme: str, text: str) -> str:
    """The README with `text` between its marks. Raises UserError if the marks are not there, once each, in order."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise UserError(f"README.md must have the marks {BEGIN} and {END} once, in this order; put them in")
    middle = f"\n\n{text}\n\n" if text else "\n"
    return f"{before}{BEGIN}{middle}{END}{after}"


def _table(table: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(name for row in table for name in row.scores))
    decimals = {name: _decimals(name, [row.scores[name] for row in table if name in row.scores]) for name in columns}
    heads = ["", "data", *(name.partition("/")[2] or name for name in columns), "run"]
    lines = [heads, ["---", "---", *["--:"] * len(columns), "---"]]
    for row in table:
        scores = [f"{row.scores[name]:.{decimals[name]}f}" if name in row.scores else "" for name in columns]
        name = f"**{row.name}**" if row.ours else row.name
        lines.append([name, row.data, *scores, ", ".join(map(str, row.runs))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _decimals(name: str, column: Sequence[float]) -> int:
    if (score := name.rpartition("/")[2]) in DECIMALS:
        return DECIMALS[score]
    return 1 if max(map(abs, column)) >= 10 else 3


def _made(record: Record) -> str:
    about, counts = record["data"], record["data"]["images"]
    images = f"{about['name']}: {', '.join(f'{count} {split}' for split, count in counts.items())} images"
    if about.get("test", about["source"]) != about["source"]:
        images = f"{about['source']}: {counts['train']} train examples; {about['name']}: {counts['test']} test images"
    steps = " + ".join(f"{count} {name}" for name, count in record["steps"])
    spent = duration(record["seconds"]) + (" with pauses" if record["paused"] else "")
    facts = [
        f"`{record['command']}`",
        f"{record['date']}, commit `{record['commit']}`",
        images,
        record["hardware"],
        f"steps: {steps}",
        spent,
    ]
    sentences = ["; ".join(facts)]
    if record["unlike_paper"]:
        changes = ", ".join(f"{k} {_show(a)} (not {_show(b)})" for k, (a, b) in record["unlike_paper"].items())
        sentences.append(f"Unlike the paper's config `{record['paper']}`: {changes}")
    if record["note"]:
        sentences.append(record["note"].rstrip("."))
    return ". ".join(sentences) + "."


def _show(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value) or "none"


def _task(column: str) -> str:
    return column.partition("/")[0]

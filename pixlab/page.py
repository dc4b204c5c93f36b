"""A run's own page: one HTML file with its settings, results, curves and pictures that opens anywhere, offline."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence

from .chart import curve
from .errors import UserError
from .log import read_scalars
from .results import results_html

_PNG_LIMIT = 200_000  # bytes; a larger picture is embedded as JPEG
_MANY = 12  # curves of a group that are not shown at once
_EARLIER = 5  # earlier pictures of a name that the page keeps, evenly spread over the run
_STYLE = """
:root{color-scheme:light dark;--paper:#fbfbfa;--card:#fff;--ink:#1d2125;--soft:#667079;--rule:#e3e5e8;--line:#2563c9;
--raw:#2563c944;--mark:#b4530a;--best:#e9f1fd;--good:#1b7f4b}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e7eaee;--soft:#98a2ad;--rule:#2d333b;
--line:#72aaff;--raw:#72aaff44;--mark:#f0a35e;--best:#1f3050;--good:#5fce93}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem clamp(.8rem,3vw,2.5rem) 4rem;max-width:1240px;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:.2rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem}
h3{font-size:.95rem;margin:1.3rem 0 .4rem;color:var(--soft);font-weight:600}
.status{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;align-items:center;color:var(--soft)}
.status b{color:var(--ink)}
.state{padding:.05rem .6rem;border-radius:1rem;border:1px solid currentColor;font-size:.85rem;color:var(--mark)}
.state.finished{color:var(--good)} .state.running{color:var(--line)}
.bar{height:5px;border-radius:3px;background:var(--rule);margin:.7rem 0;overflow:hidden}
.bar i{display:block;height:100%;background:var(--line)}
.wide{overflow-x:auto;border:1px solid var(--rule);border-radius:8px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .8rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:8rem}
thead th{color:var(--soft);font-weight:600;font-size:.88rem}
tbody tr:last-child>*{border-bottom:0} tbody th{font-weight:500} .results tbody tr:first-child{background:var(--best)}
td b{font-weight:750}
.note{color:var(--soft);font-size:.88rem;margin:.5rem 0}
.config{columns:2 22rem;column-gap:2.5rem;font-size:.9rem;margin:.6rem 0 0}
.config div{display:flex;gap:1rem;justify-content:space-between;break-inside:avoid;border-bottom:1px solid var(--rule);
padding:.2rem 0} .config dt{color:var(--soft)} .config dd{margin:0;text-align:right;overflow-wrap:anywhere}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:.9rem}
figure{margin:0} .curve{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:.6rem .6rem .2rem;
position:relative}
figcaption{font-size:.9rem;overflow-wrap:anywhere} figcaption span{color:var(--soft);font-size:.82rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11px;fill:var(--soft)} .grid{stroke:var(--rule)} polyline{fill:none;stroke-linejoin:round}
.line{stroke:var(--line);stroke-width:1.8} .raw{stroke:var(--raw);stroke-width:1} .dot{fill:var(--line)}
line.stage{stroke:var(--mark);stroke-dasharray:3 3} svg text.stage{fill:var(--mark)}
.tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--paper);font-size:.78rem;
padding:.1rem .45rem;border-radius:4px;transform:translate(-50%,-150%);white-space:nowrap}
.strip{overflow-x:auto;border-radius:8px;margin:.3rem 0 .2rem;background:#fff;border:1px solid var(--rule)}
.strip img{display:block;width:100%;min-width:680px;height:auto}
summary{cursor:pointer;color:var(--soft);margin:.5rem 0}
"""

_SCRIPT = """
for (const svg of document.querySelectorAll("svg[data-points]")) {
  const points = svg.dataset.points.split(" ").map(p => p.split(","));
  const tip = Object.assign(document.createElement("div"), {className: "tip", hidden: true});
  svg.parentNode.append(tip);
  svg.addEventListener("pointermove", e => {
    const box = svg.getBoundingClientRect(), card = svg.parentNode.getBoundingClientRect();
    const zoom = box.width / svg.viewBox.baseVal.width, x = (e.clientX - box.left) / zoom;
    const p = points.reduce((a, b) => Math.abs(b[2] - x) < Math.abs(a[2] - x) ? b : a);
    tip.textContent = "step " + p[0] + ": " + p[1];
    tip.style.left = box.left - card.left + p[2] * zoom + "px";
    tip.style.top = box.top - card.top + p[3] * zoom + "px";
    tip.hidden = false;
  });
  svg.addEventListener("pointerleave", () => tip.hidden = true);
}
"""


def _json(path: pathlib.Path) -> dict:
    """A JSON object, or {} if the file is absent."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); repair or remove it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; repair or remove it")
    return value


def _flat(value, prefix: str = "") -> list[tuple[str, str]]:
    """(dotted name, value) of every leaf of a nested configuration."""
    if isinstance(value, Mapping) and value:
        return [leaf for key, item in value.items() for leaf in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in _flat(item, f"{prefix}[{index}]")]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [(prefix, "-" if value is None else text)]


def _config(config: Mapping) -> str:
    rows = [f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>" for k, v in _flat(config)]
    return f'<h2>Settings</h2><dl class="config">{"".join(rows)}</dl>' if config else ""


def _curves(scalars: Mapping[str, Mapping[int, float]], stages: Sequence[tuple[str, int]]) -> str:
    if not scalars:
        return ""
    steps = [step for points in scalars.values() for step in points]
    groups: dict[str, list[str]] = {}
    tops = list(dict.fromkeys(name.partition("/")[0] for name in scalars))
    for name in sorted(scalars, key=lambda name: tops.index(name.partition("/")[0])):
        groups.setdefault("/".join(name.split("/")[:-1][:2]), []).append(name)  # a class may have a slash in its name
    parts = []
    for group, names in groups.items():
        drawn = [curve(scalars[n], label=n, first=min(steps), last=max(steps), stages=stages) for n in names]
        grid = f'<div class="curves">{"".join(drawn)}</div>'
        title = html.escape(group)
        if len(drawn) > _MANY:
            parts.append(f"<details><summary>{title}: {len(drawn)} curves</summary>{grid}</details>")
        else:
            parts.append(f"<h3>{title}</h3>{grid}")
    return f"<h2>Curves</h2>{''.join(parts)}"


def _embed(path: pathlib.Path, label: str) -> str:
    data, kind = path.read_bytes(), "png"
    if len(data) > _PNG_LIMIT:
        from PIL import Image

        buffer = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "JPEG", quality=85, subsampling=0)
        data, kind = buffer.getvalue(), "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return f'<div class="strip"><img src="{source}" alt="{html.escape(label)}" loading="lazy"></div>'


def _pictures(folder: pathlib.Path) -> str:
    found: dict[str, list[tuple[int, pathlib.Path]]] = {}
    for path in sorted(folder.glob("*.png")):
        name, _, step = path.stem.rpartition("_")
        if name and step.isdigit():
            found.setdefault(name, []).append((int(step), path))
    parts = []
    for name, shots in found.items():
        *earlier, (step, latest) = sorted(shots)
        parts.append(f"<h3>{html.escape(name)}, step {step}</h3>{_embed(latest, f'{name}, step {step}')}")
        if earlier:
            count = min(_EARLIER, len(earlier))
            some = [earlier[round(i * (len(earlier) - 1) / max(count - 1, 1))] for i in range(count)]
            shown = "".join(f"<h3>step {s}</h3>{_embed(p, f'{name}, step {s}')}" for s, p in reversed(some))
            parts.append(f"<details><summary>{count} earlier</summary>{shown}</details>")
    return f"<h2>Pictures</h2>{''.join(parts)}" if parts else ""


def _status(status: Mapping) -> str:
    if not status:
        return ""
    state, step, total = str(status["state"]), status["step"], status["total"]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(status["time"]))
    share = 100 * step / max(total, 1)
    return (
        f'<div class="status"><span class="state {html.escape(state)}">{html.escape(state)}</span>'
        f"<span>step <b>{step}</b> of {total}</span><span>{when}</span></div>"
        f'<div class="bar"><i style="width:{share:.1f}%"></i></div>'
    )


def write_page(folder: str | os.PathLike, *, title: str | None = None) -> pathlib.Path:
    """Writes `index.html` of a run from what its folder holds, replacing the old page in one go; returns its path.

    Reads `config.json` ({"experiment": ..., "config": ..., "fields": nested settings} or plain settings),
    `status.json`, `metrics.csv` and `pictures/` (see `Log`), and `result.json` (see `results_html`); what is absent
    is left out. The page asks the network for nothing. Raises UserError if the folder is absent or cannot be written,
    or if a JSON file is broken.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no run in {folder}: give the folder that holds its metrics.csv")
    config, status, result = (_json(folder / f"{name}.json") for name in ("config", "status", "result"))
    begin, stages = 0, []
    for name, steps in status.get("stages") or ():
        stages.append((name, begin))
        begin += steps
    called = " ".join(str(config[key]) for key in ("experiment", "config") if config.get(key))
    name = html.escape(title or called or folder.resolve().name)
    settings = {**{key: value for key, value in config.items() if key != "fields"}, **config.get("fields", {})}
    body = [
        f"<h1>{name}</h1>",
        _status(status),
        results_html(result),
        _pictures(folder / "pictures"),
        _curves(read_scalars(folder), stages),
        _config(settings),
    ]
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body>{''.join(body)}"
        f"<script>{_SCRIPT}</script></body></html>\n"
    )
    page = folder / "index.html"
    try:
        page.with_suffix(".html.new").write_text(text, encoding="utf-8")
        os.replace(page.with_suffix(".html.new"), page)
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror}") from error
    return page

"""The house keeps its shape: imports go one way, files stay short, starting is quiet."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / "pixlab").rglob("*.py"))
PURE = {"models", "nn", "losses", "metrics"}  # import nothing of pixlab but one another, core and errors
TIMES_AND_FILES = {"time", "pathlib", "os", "shutil", "tempfile"}


def imports(path: pathlib.Path) -> set[str]:
    """Modules that a file imports, with relative imports made absolute."""
    found = set()
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) + "." if node.level else ""
            module = base + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_imports_the_experiments(path):
    assert not {name for name in imports(path) if name.split(".")[0] == "experiments"}


@pytest.mark.parametrize("path", [p for p in FILES if PURE & set(p.parts)], ids=lambda p: str(p.relative_to(ROOT)))
def test_networks_losses_and_metrics_stand_alone(path):
    ours = {name for name in imports(path) if name.startswith("pixlab.")}
    allowed = ("pixlab.core", "pixlab.errors", *(f"pixlab.{layer}" for layer in PURE))
    assert not {name for name in ours if not name.startswith(allowed)}
    assert not imports(path) & TIMES_AND_FILES


@pytest.mark.parametrize(("word", "file"), [("NamedSharding", "mesh.py"), ("process_allgather", "hosts.py")])
def test_one_file_each_knows_of_devices_and_of_hosts(word, file):
    assert {p.name for p in FILES if word in p.read_text()} == {file}


def test_files_are_short():
    limits = {"core.py": 150, "train.py": 250}
    lengths = {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in FILES}
    assert not {str(p): n for p, n in lengths.items() if n >= limits.get(p.name, 301)}


def test_starting_is_quiet():
    code = "from experiments import depth_nyu; import pixlab.mesh as m, jax; m.setup(); jax.devices()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == done.stderr == ""

"""The house holds what it says of itself: layers, the README's tree, the reference, a quick start without numpy."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.main import get_command

import binventory
from binventory.cli import app

ROOT = Path(__file__).parent.parent
ROOMS = ROOT / "src" / "binventory"
HEAVY = ("numpy", "PIL", "duckdb", "onnxruntime", "scipy", "obstore", "jinja2", "rich")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_rooms_import_below_and_never_above() -> None:
    contracts = run(str(Path(sys.executable).parent / "lint-imports"))
    assert contracts.returncode == 0, contracts.stdout[-3000:]


def test_a_room_that_imports_above_itself_is_found_out(tmp_path: Path) -> None:
    """The contracts can fail: a copy of the house with one bad import breaks them."""
    house = tmp_path / "binventory"
    subprocess.run(["cp", "-r", str(ROOMS), str(house)], check=True)
    with (house / "counting" / "head.py").open("a") as room:
        room.write("\nimport scipy\nfrom binventory.learning import metrics\n")
    settings = tmp_path / "pyproject.toml"
    settings.write_text((ROOT / "pyproject.toml").read_text())
    contracts = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--config", str(settings), "--no-cache"],
        capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert contracts.returncode != 0
    assert "binventory.counting.head -> scipy" in contracts.stdout
    assert "2 broken" in contracts.stdout


def tree() -> dict[str, str]:
    """The README's file tree: path to what its line says."""
    block = (ROOT / "README.md").read_text().split("<!-- tree -->")[1]
    found: dict[str, str] = {}
    folders: list[str] = []
    for line in block.splitlines():
        match = re.match(r"^((?:  )*)([\w.\-]+/?)(?:\s{2,}(\S.*))?$", line)
        if match:
            depth = len(match[1]) // 2
            folders = [*folders[:depth], match[2]]
            found["".join(folders)] = match[3] or ""
    return found


def test_the_readme_tree_names_every_file_of_the_house_and_nothing_else() -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for path in ROOMS.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ("__init__.py", "py.typed")
        and "shipped" not in path.parts
    }  # fmt: skip
    named = {path for path in tree() if path.startswith("src/") and not path.endswith("/")}
    assert named == there


def test_the_readme_tree_names_every_folder() -> None:
    tracked = run("git", "ls-files").stdout.split() or pytest.skip("not a git checkout")
    folders = {f"{Path(path).parts[0]}/" for path in tracked if len(Path(path).parts) > 1}
    assert folders - {".ci/"} <= set(tree())
    assert all((ROOT / path).exists() for path in tree())


def test_every_folder_of_the_house_says_what_it_is_for() -> None:
    for folder in ROOMS.rglob("__init__.py"):
        assert folder.read_text().startswith('"""'), f"{folder} has no docstring"


def test_every_verb_has_help_and_stands_in_the_reference_as_it_is() -> None:
    written = run(sys.executable, "-c", "import sys; sys.path.insert(0, 'docs'); import reference; "
                  "print(reference.page(), end='')").stdout  # fmt: skip
    assert (ROOT / "docs" / "cli.md").read_text() == written, "run make docs"
    for name, command in verbs(get_command(app)).items():
        assert command.help, f"{name} has no help"
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"
        assert f"`{name}`" in (ROOT / "README.md").read_text(), f"the README does not name {name}"


def verbs(group: Any, family: str = "") -> dict[str, Any]:
    """Every verb by its words, those of families (``cloud upload``) among them."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= verbs(command, f"{family}{name} ") if hasattr(command, "commands") else {f"{family}{name}": command}
    return found


@pytest.mark.parametrize("command", [["--help"], ["count", "--help"], ["--version"]])
def test_help_comes_without_numpy_or_any_heavy_library(command: list[str]) -> None:
    code = (
        "import sys; from binventory.cli import main\n"
        f"sys.argv = ['binventory', *{command!r}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.splitlines()[-1] == "[]"


def test_what_the_package_exports_is_its_promise() -> None:
    assert sorted(binventory.__all__) == binventory.__all__
    for name in binventory.__all__:
        assert getattr(binventory, name) is not None
    assert {name for name in vars(binventory) if name[0].isupper() and name != "TYPE_CHECKING"} <= set(
        binventory.__all__
    )


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == binventory.__version__
    assert f"## {binventory.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["base", "dev", "train"])
def test_pins_have_hashes_and_name_no_index(name: str) -> None:
    pins = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in pins
    assert pins.count("==") <= pins.count("--hash=sha256:")
    for line in (ROOT / "requirements" / f"{name}.in").read_text().split():
        if re.fullmatch(r"[a-z][\w-]*", line):
            assert re.search(rf"^{line}==", pins, re.MULTILINE), f"{line} is not pinned"


def test_the_pins_of_training_are_what_the_extra_asks_for_and_leave_torch_to_the_machine() -> None:
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements" / "train.txt").read_text(), re.MULTILINE))
    assert not {"torch", "torchvision"} & set(pins)
    (pins["torch"],) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for asked in map(Requirement, extras["train"]):
        assert pins[asked.name] in asked.specifier

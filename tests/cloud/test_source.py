"""What a job carries installs in a clean environment as AWS's image is one, with hashes, from the net and without."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import binventory
from binventory.cloud import source
from binventory.errors import InputError
from optml import opt_ml

ROOT = Path(__file__).parents[2]
WHEEL = f"binventory-{binventory.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, as a job carries it."""
    path = tmp_path_factory.mktemp("source") / "sourcedir.tar.gz"
    assert source.pack(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    return path


def test_the_archive_holds_the_program_the_wheel_and_pins_and_is_the_same_each_time(
    packed: Path, tmp_path: Path
) -> None:
    with tarfile.open(packed) as tar:
        assert tar.getnames() == [WHEEL, "requirements.txt", "train_model.py"]
        assert {(one.mtime, one.uid, one.uname) for one in tar} == {(0, 0, "")}
    source.pack(tmp_path / "another-name.tar.gz")
    assert (tmp_path / "another-name.tar.gz").read_bytes() == packed.read_bytes()


def test_the_program_is_the_door_of_the_folder_sagemaker() -> None:
    assert (ROOT / "sagemaker" / source.PROGRAM).read_text() == source.DOOR


def test_the_wheel_holds_every_file_of_the_package_and_a_true_record() -> None:
    name, data = source.wheel()
    assert name == WHEEL
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        house = Path(binventory.__file__).parent
        files = {f"binventory/{path.relative_to(house).as_posix()}" for path in house.rglob("*") if path.is_file()}
        info = f"binventory-{binventory.__version__}.dist-info"
        assert {one for one in names if not one.startswith(info)} == {one for one in files if "__pycache__" not in one}
        assert {f"{info}/{one}" for one in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")} <= names
        assert any("/licenses/" in one for one in names)
        record = archive.read(f"{info}/RECORD").decode().splitlines()
        assert {line.split(",")[0] for line in record} == names


def test_the_pins_have_hashes_name_no_index_and_are_what_training_asks_for() -> None:
    pins = source.requirements()
    assert "://" not in pins
    assert pins.count("==") <= pins.count("--hash=sha256:")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", pins, re.MULTILINE))
    assert not {"torch", "torchvision"} & set(pinned), "the image brings them"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for asked in map(Requirement, (*project["dependencies"], *project["optional-dependencies"]["train"])):
        assert asked.name == "torch" or pinned[asked.name] in asked.specifier


def test_a_wheelhouse_that_lacks_a_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "duckdb-0.1-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(InputError, match=r"is no whole wheelhouse\. It lacks \d+ wheels \(alembic=="):
        source.pack(tmp_path / "sourcedir.tar.gz", tmp_path)
    assert not (tmp_path / "sourcedir.tar.gz").exists()


def closure(name: str, found: dict[str, Distribution]) -> None:
    """A distribution and all that it needs, as they are installed here."""
    known = distribution(name)
    if known.name in found:
        return
    found[known.name] = known
    for asked in map(Requirement, known.requires or ()):
        if asked.marker is None or asked.marker.evaluate({"extra": ""}):
            closure(asked.name, found)


def image(folder: Path) -> Path:
    """The Python of a clean environment that has what AWS's image has: torch, torchvision, the toolkit, what these
    need, and nothing else."""
    venv.create(folder)
    found: dict[str, Distribution] = {}
    for name in ("pip", "torch", "torchvision", "sagemaker-training"):
        closure(name, found)
    site = next(folder.glob("lib/python*/site-packages"))
    for known in found.values():
        for path in known.files or ():
            there = site / path
            if ".." not in path.parts and path.suffix != ".pyc" and not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(Path(str(path.locate())))  # a link a file: what pip takes away there stays here
    return folder / "bin" / "python"


@pytest.mark.train
@pytest.mark.timeout(600)
def test_aws_toolkit_installs_it_in_a_clean_environment_without_a_net_and_trains(
    packed: Path, bins: Path, tmp_path: Path
) -> None:
    """Its wheels are fetched as the pins say, hashes held; from then on it stands alone."""
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "code", filter="data")
    python = image(tmp_path / "image")
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: object, **environ: str) -> str:
        ran = subprocess.run([str(word) for word in words], cwd=tmp_path / "code", env=plain | environ, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-3000:]
        return ran.stdout

    wheels = tmp_path / "wheels"
    run(python, "-m", "pip", "download", "-q", "--only-binary=:all:", "--no-deps", "-r", "requirements.txt", "-d",
        wheels)  # fmt: skip
    (wheels / WHEEL).unlink()
    source.pack(tmp_path / "closed.tar.gz", wheels)
    base = opt_ml(tmp_path / "ml", {"from": "open", "quick.rounds": "20"}, {"train": bins},
                  code=tmp_path / "closed.tar.gz")  # fmt: skip
    nowhere = {"https_proxy": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    said = run(python, "-m", "sagemaker_training.cli.train", SAGEMAKER_BASE_DIR=str(base), **nowhere)
    assert (base / "model" / "bundle.json").is_file(), said[-3000:]
    assert (base / "code" / "requirements.txt").read_text().startswith("--no-index\n--find-links ./wheelhouse\n")
    (installed,) = re.findall(r"^Successfully installed (.*)$", said, re.MULTILINE)
    assert f"binventory-{binventory.__version__}" in installed
    assert "torch-" not in installed, "the image's own stays"
    home = run(python, "-c", "import binventory; print(binventory.__file__)").strip()
    assert Path(home).is_relative_to(tmp_path / "image")
    assert run(python.parent / "binventory", "--version").strip() == binventory.__version__
    assert "No broken requirements" in run(python, "-m", "pip", "check")
    packs = "from binventory.cloud import source; print(source.wheel()[0])"
    assert run(python, "-c", packs).strip() == WHEEL, "an installed package packs itself, too"

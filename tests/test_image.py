"""The Dockerfile: linted, and in agreement with the rest of the house. Its steps are run by ``make image-check``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import image

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text()


def test_the_dockerfile_is_linted() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_entry_point_gets_its_signals_itself() -> None:
    entries = [rest for name, rest in image.instructions(TEXT) if name == "ENTRYPOINT"]
    assert [json.loads(one) for one in entries] == [["python", "-m", "binventory.cloud.container"], ["binventory"]]


def test_the_serving_image_holds_no_torch() -> None:
    stages = re.split(r"^FROM ", TEXT, flags=re.MULTILINE)
    named = {stage.split()[2]: stage for stage in stages[1:]}
    served = "".join(named[one] for one in image.wanted_by("serve"))
    assert "torch" not in served
    assert "train.txt" not in served
    assert "requirements/base.txt" in served


def test_the_image_takes_the_torch_that_the_makefile_pins() -> None:
    (pinned,) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"ARG TORCH={pinned}\n" in TEXT


def test_what_is_copied_is_let_through_and_nothing_else() -> None:
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {one for name, rest in image.instructions(TEXT) if name == "COPY" and "--from" not in rest
              for one in rest.split()[:-1]}  # fmt: skip
    assert {one if not one.startswith("requirements/") else "requirements/*.txt" for one in copied} == let
    assert all((ROOT / one).exists() for one in copied)

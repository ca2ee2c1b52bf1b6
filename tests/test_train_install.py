"""What training needs fits together as installed, and `make test-train` leaves out none of its tests."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

TESTS = Path(__file__).parent


@pytest.mark.train
def test_a_network_of_timm_comes_through_the_export_with_its_figures() -> None:
    """The pins of timm, torch, onnx, onnxscript and ONNX Runtime work with one another, without a warning."""
    import timm
    import torch

    network = timm.create_model("resnet10t", num_classes=0).eval()
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    written = io.BytesIO()
    torch.onnx.export(
        network, (pictures[:2],), input_names=["pictures"], dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True, external_data=False, verbose=False,
    ).save(written)  # fmt: skip
    session = InferenceSession(written.getvalue())
    with torch.no_grad():
        expected = network(pictures).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(session.run(None, {"pictures": pictures.numpy()})[0], expected, atol=1e-4)


MARKED = "import pytest\n@pytest.mark.train\ndef test_it(): pass\n"
MODULE = "import pytest\ntorch = pytest.importorskip('torch')\ndef test_it(): pass\n"
SKIPS = "import pytest\ndef test_it(): pytest.skip('not today')\n"


@pytest.mark.parametrize("tests", [MARKED, MODULE, SKIPS], ids=["marked", "module", "skips"])
@pytest.mark.parametrize(("train", "passes"), [("", True), ("required", False)], ids=["left out", "required"])
def test_without_torch_tests_are_left_out_but_where_training_is_required(
    tests: str, train: str, passes: bool, tmp_path: Path
) -> None:
    for name in ("conftest.py", "faults.py", "postgres.py", "s3server.py"):  # what the first imports
        shutil.copy(TESTS / name, tmp_path)
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    (tmp_path / "test_it.py").write_text(tests)
    (tmp_path / "test_beside.py").write_text("def test_it(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = train\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib", "."],
        cwd=tmp_path, env=os.environ | {"BINVENTORY_TRAIN": train, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode == 0) is passes, ran.stdout
    assert ("1 passed, 1 skipped" in ran.stdout) is passes, ran.stdout
    assert ("though BINVENTORY_TRAIN=required" in ran.stdout) is not passes, ran.stdout

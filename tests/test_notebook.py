"""The notebook runs top to bottom, as its reader would run it, and shows pictures."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parent.parent / "sagemaker" / "sagemaker.ipynb"


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)


def test_it_is_valid_and_kept_without_outputs() -> None:
    nbformat.validate(notebook())
    assert (notebook().nbformat, notebook().nbformat_minor) == (4, 5)
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert len({cell.id for cell in notebook().cells}) == len(notebook().cells)


def test_it_has_one_parameter_and_no_logic_of_its_own() -> None:
    cells = [cell for cell in notebook().cells if cell.cell_type == "code"]
    assert [cell.id for cell in cells if "parameters" in cell.metadata.get("tags", ())] == ["parameter"]
    assert all("import binventory" not in cell.source and "from binventory" not in cell.source for cell in cells)
    called = [cell for cell in cells if cell.source.startswith("%%bash -e\n")]
    assert all("binventory " in cell.source or cell.id in ("query-endpoint", "undeploy-endpoint") for cell in called)


def test_it_runs_top_to_bottom_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "BINVENTORY_MODE": "local", "BINVENTORY_PLACE": tmp_path / "run", "BINVENTORY_BINS": 160,
        "BINVENTORY_PORT": port, "IPYTHONDIR": tmp_path / "ipython", "JUPYTER_RUNTIME_DIR": tmp_path / "runtime",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    whole = notebook()
    client = nbclient.NotebookClient(whole, timeout=180, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = {cell.id: [kind for output in cell.outputs for kind in output.get("data", {})]
             for cell in whole.cells if cell.cell_type == "code"}  # fmt: skip
    assert shown["look"].count("image/jpeg") == 3
    assert "image/png" in shown["count-sheet"]
    for id in ("explore-page", "tune-page", "evaluate-page"):
        assert "text/html" in shown[id]
    pages = [cell.outputs[0]["data"]["text/html"] for cell in whole.cells if cell.id.endswith("-page")]
    assert all("data:image/jpeg;base64," in page or "&lt;svg" in page for page in pages)
    assert (tmp_path / "run" / "report.pdf").read_bytes().startswith(b"%PDF-")

"""The notebook runs top to bottom, as its reader would run it, and shows pictures."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from s3server import S3Server
from wire import beside, hosting, packages, transform, world

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


def run(place: Path, monkeypatch: pytest.MonkeyPatch, **environment: object) -> dict[str, Any]:
    """The cells by id, as they stand after the notebook has run in ``place``."""
    settings = {
        "BINVENTORY_PLACE": place / "run", "BINVENTORY_BINS": 160, "IPYTHONDIR": place / "ipython",
        "JUPYTER_RUNTIME_DIR": place / "runtime", **environment,
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    whole = notebook()
    nbclient.NotebookClient(whole, timeout=300, resources={"metadata": {"path": str(place)}}).execute()
    return {cell.id: cell for cell in whole.cells if cell.cell_type == "code"}


def said(cell: Any) -> str:
    """What a cell's commands printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def look(cells: dict[str, Any], pages: tuple[str, ...], place: Path) -> None:
    """Hold that pictures and pages are shown, and that the report is there."""
    shown = {id: [kind for one in cell.outputs for kind in one.get("data", {})] for id, cell in cells.items()}
    assert shown["look"].count("image/jpeg") == 3
    assert "image/png" in shown["count-sheet"]
    for id in pages:
        page = cells[id].outputs[0]["data"]["text/html"]
        assert "data:image/jpeg;base64," in page or "&lt;svg" in page
    assert (place / "run" / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_it_runs_top_to_bottom_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cells = run(tmp_path, monkeypatch, BINVENTORY_MODE="local", BINVENTORY_PORT=port)
    look(cells, ("explore-page", "tune-page", "evaluate-page"), tmp_path)
    assert '"count":' in said(cells["query-endpoint"])


@pytest.mark.train
@pytest.mark.timeout(600)
def test_it_runs_on_sagemaker_too(bucket: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against S3 and a SageMaker on loopback, whose jobs run in the real toolkit and whose endpoint is our server."""
    with world.made(bucket, tmp_path / "opt") as aws:
        books = hosting.install(aws.wire, aws.store)
        beside.install(books)
        transform.install(books)
        packages.install(books)
        cells = run(tmp_path, monkeypatch, BINVENTORY_MODE="sagemaker",
                    BINVENTORY_STORE=f"s3://private/{tmp_path.name}", **aws.environment)  # fmt: skip
        assert not (books.endpoints or books.configs or books.models)
    look(cells, ("explore-page", "evaluate-page"), tmp_path)
    assert "tail_mean" in said(cells["query-endpoint"])

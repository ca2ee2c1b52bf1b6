"""A report as a PDF: Typst sets it, from the report's own numbers as JSON. The same report gives the same bytes.

Names of bundles, folders and photos reach the template as data, which Typst shows and never reads as markup.
"""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from binventory.errors import OutsideError, UsageError
from binventory.learning import plots
from binventory.learning.full import curve
from binventory.learning.report import Report
from binventory.records import level

TEMPLATES = ("report.typ", "report_words.typ", "report_outcome.typ")
"""The first is the whole, which reads the others."""


def refuse_without_typst() -> None:
    """Raise UsageError where the library is missing that sets the report."""
    if find_spec("typst") is None:
        raise UsageError("A report cannot be typeset", "typst is not installed", "pip install 'binventory[report]'")


def typeset(report: Report) -> bytes:
    """The report as a PDF, A4. Raises UsageError without the extra ``report``, OutsideError where Typst fails."""
    refuse_without_typst()
    import typst

    with TemporaryDirectory(prefix="binventory-report-") as folder:
        place = Path(folder)
        for name, data in _members(report).items():
            (place / name).write_bytes(data)
        try:
            pdf: bytes = typst.compile(
                str(place / TEMPLATES[0]), root=folder, format="pdf", ignore_system_fonts=True, timestamp=0,
                pdf_standards=["ua-1"],
            )  # fmt: skip
        except RuntimeError as error:
            raise OutsideError(
                "The report cannot be typeset", str(error), "report it, with binventory's version"
            ) from None
    return pdf


def _members(report: Report) -> dict[str, bytes]:
    """The files that Typst sees: the template, the facts, plots and pictures."""
    drawn = _plots(report)
    answers = [{**told, "said": answer.count.as_row(answer.photo.id)}
               for told, answer in zip(report.as_row()["answers"], report.answers, strict=True)]  # fmt: skip
    told = report.as_row() | {"plots": sorted(drawn), "answers": answers}
    return {
        **{name: (files("binventory") / "learning" / name).read_bytes() for name in TEMPLATES},
        # A file name may hold bytes that are no text, which become question marks.
        "facts.json": json.dumps(told, ensure_ascii=False).encode(errors="replace"),
        **{name: text.encode(errors="replace") for name, text in drawn.items()},
        **report.pictures,
    }


def _plots(report: Report) -> dict[str, str]:
    """Every plot of the report as SVG text by file name; those without data are not there."""
    drawn: dict[str, str] = {}
    if report.data.mix:
        mix = plots.counts(report.data.mix.tally, report.data.reference, report.data.counted)
        drawn["mix.svg"] = plots.alone("columns", mix, 130)
    for number, one in enumerate(report.trainings):
        drawn[f"training-{number}.svg"] = curve.drawn(one.rows, 230, 110)
    for number, judged in enumerate(report.judged):
        if judged.views:
            drawn[f"calibration-{number}.svg"] = plots.alone("calibration", judged.views.bins)
            drawn[f"keeping-{number}.svg"] = plots.alone("keeping", judged.views.curve, judged.views.surest)
    for number, answer in enumerate(report.answers):
        drawn[f"answer-{number}.svg"] = plots.alone("distribution", answer.count, level(answer.truth))
    return drawn

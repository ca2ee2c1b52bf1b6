"""EPCIS documents are what GS1's schema says, tell what happened, and are the same each time."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binventory.book.entries import (
    Adjusted,
    Approved,
    Body,
    Counted,
    Declared,
    Entry,
    Expected,
    Line,
    Moved,
    Pictured,
    Recounted,
)  # fmt: skip
from binventory.book.exchange import epcis
from binventory.book.exchange.discrepancies import Discrepancy, discrepancies
from binventory.records import LEVELS, TAIL, Item

SCHEMA = Path(__file__).parents[4] / "shared" / "epcis" / "EPCIS-JSON-Schema.json"
NOW = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)
SSCC = "340123450000000000"
MUG = Item("MUG/1", None, "Mug", 2, None, None, None, None, "4006381333931")
PEN = Item("PEN", None, None, 1, None, None, None, None)


def entry(
    body: Body, key: str = "k", bin: str | None = "A 1/3", consignment: str | None = None, late: int = 0
) -> Entry:
    return Entry(key, bin, NOW + timedelta(minutes=late), "anna", body, consignment, 7, NOW + timedelta(hours=1))


def counted(count: int, photo: str = "p") -> Counted:
    probs = tuple(0.9 if k == count else 0.1 / (LEVELS - 1) for k in range(LEVELS))
    return Counted(photo, "bundle", probs, 30.0, (count, None if count == TAIL else count))


FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("uri")
def is_uri(value: object) -> bool:
    """The signs that RFC 3986 lets stand after a scheme."""
    return (
        re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:(%[0-9A-F]{2}|[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-])*", str(value))
        is not None
    )


@FORMATS.checks("date-time")
def is_time(value: object) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", str(value)) is not None


EVERY = [
    entry(Expected(3, (MUG, PEN)), "e"),
    entry(Pictured("p", "1.jpg", 9, "exif", "path"), "p"),
    entry(counted(4), "c"),
    entry(counted(TAIL, "q"), "c2", "B"),
    entry(Recounted(3, "bin", (Line("MUG/1", 2), Line("PEN", 1)), "p"), "r", late=5),
    entry(Recounted(0, "photo"), "r2", "B"),
    entry(Moved(2, "PEN", None, "PO-1"), "m"),
    entry(Moved(-3), "m2"),
    entry(Declared(3, (MUG, PEN), SSCC), "d", "T1", "C 1"),
    entry(Declared(5), "d2", "T2", "C 1"),
    entry(Recounted(4, "bin"), "r3", "T2", "C 1", 9),
    entry(Adjusted("r", -1), "a"),
    entry(Adjusted("r", 0, (("MUG/1", 2), ("PEN", -2))), "a2"),
    entry(Approved("r", 7), "y"),
]


def events(*entries: Entry) -> list[dict[str, Any]]:
    found = epcis.document(entries, "Halle 1")["epcisBody"]
    assert isinstance(found, dict)
    told = found["eventList"]
    assert isinstance(told, list)
    return told


def event(body: Body, consignment: str | None = None) -> dict[str, Any]:
    (one,) = events(entry(body, consignment=consignment))
    return one


@pytest.mark.real
def test_documents_validate_against_the_published_schema() -> None:
    if not SCHEMA.is_file():
        pytest.skip("the schema is not beside the project")
    schema = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()), format_checker=FORMATS)
    told = discrepancies([one for one in EVERY if one.consignment], {"T1": 3, "T2": 7, SSCC: 1, "T 9": 1})
    for document in (
        epcis.document(EVERY, "Halle 1"),
        epcis.document([], "Halle 1"),
        epcis.discrepancies(told, "C 1", "Halle 1", NOW),
        *(epcis.document([one], "ü/:%") for one in EVERY),
    ):
        schema.validate(json.loads(json.dumps(document)))
    broken = json.loads(json.dumps(epcis.document(EVERY, "Halle 1")))
    broken["epcisBody"]["eventList"][0]["bizStep"] = "looking"
    assert not schema.is_valid(broken)


def test_a_document_names_its_version_and_words() -> None:
    document = epcis.document(EVERY, "Halle 1")
    assert document["type"] == "EPCISDocument"
    assert document["schemaVersion"] == "2.0"
    assert document["creationDate"] == "2026-11-30T09:15:00Z"
    assert document["@context"] == [
        "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", {"binventory": "urn:binventory:"},
    ]  # fmt: skip


def test_exporting_again_gives_the_same_document_and_every_event_its_own_id() -> None:
    assert epcis.document(EVERY, "Halle 1") == epcis.document(EVERY, "Halle 1")
    told = [one for one in events(*EVERY) if "errorDeclaration" not in one]
    assert len({one["eventID"] for one in told}) == len(told)
    other = epcis.document(EVERY, "Halle 2")["epcisBody"]
    assert isinstance(other, dict)
    assert not {one["eventID"] for one in other["eventList"]} & {one["eventID"] for one in told}


def test_a_count_tells_how_many_where_when_and_how_sure() -> None:
    assert event(counted(4)) == {
        "type": "ObjectEvent",
        "eventID": event(counted(9))["eventID"],
        "eventTime": "2026-11-30T08:15:00Z",
        "eventTimeZoneOffset": "+00:00",
        "recordTime": "2026-11-30T09:15:00Z",
        "action": "OBSERVE",
        "bizStep": "cycle_counting",
        "readPoint": {"id": "urn:binventory:Halle%201:bin:A%201%2F3"},
        "bizLocation": {"id": "urn:binventory:Halle%201:bin:A%201%2F3"},
        "quantityList": [{"epcClass": "urn:binventory:Halle%201:class:any", "quantity": 4}],
        "binventory:confidence": 0.9,
        "binventory:interval": [4, 4],
    }


def test_more_than_twenty_is_no_quantity() -> None:
    assert event(counted(TAIL))["quantityList"] == [{"epcClass": "urn:binventory:Halle%201:class:any"}]


def test_a_recount_tells_its_lines_and_what_nobody_told_apart() -> None:
    told = event(Recounted(5, "bin", (Line("PEN", 3),)))
    assert told["bizStep"] == "stock_taking"
    assert told["quantityList"] == [
        {"epcClass": "urn:binventory:Halle%201:sku:PEN", "quantity": 3},
        {"epcClass": "urn:binventory:Halle%201:class:any", "quantity": 2},
    ]
    assert event(Recounted(0, "photo"))["bizStep"] == "inspecting"
    assert event(Recounted(0, "bin"))["quantityList"] == [
        {"epcClass": "urn:binventory:Halle%201:class:any", "quantity": 0}
    ]


def test_what_is_taken_out_is_no_longer_in_the_bin() -> None:
    out, into = event(Moved(-2, "PEN")), event(Moved(2, "PEN", "036000291452", "PO-1"))
    assert (out["bizStep"], "bizLocation" in out, out["quantityList"][0]["quantity"]) == ("picking", False, 2)
    assert (into["bizStep"], "bizLocation" in into) == ("storing", True)
    assert into["quantityList"] == [{"epcClass": "https://id.gs1.org/01/00036000291452", "quantity": 2}]
    assert into["binventory:reference"] == "PO-1"


def test_a_sku_has_the_gtin_that_any_entry_tells() -> None:
    told = events(entry(Expected(2, (MUG,)), "e"), entry(Moved(1, "MUG/1"), "m"))
    assert told[0]["quantityList"][0]["epcClass"] == "https://id.gs1.org/01/04006381333931"


def test_a_tote_is_packed_under_its_sscc_or_its_own_name() -> None:
    told = event(Declared(3, (MUG, PEN), SSCC), "C 1")
    assert (told["type"], told["action"], told["bizStep"]) == ("AggregationEvent", "ADD", "packing")
    assert told["parentID"] == f"https://id.gs1.org/00/{SSCC}"
    assert [one["quantity"] for one in told["childQuantityList"]] == [2, 1]
    assert told["bizTransactionList"] == [
        {"type": "desadv", "bizTransaction": "urn:binventory:Halle%201:consignment:C%201"}
    ]
    assert event(Declared(3), "C")["parentID"] == "urn:binventory:Halle%201:tote:A%201%2F3"


def test_what_a_recount_found_wrong_is_declared_as_an_error() -> None:
    told = [one for one in events(*EVERY) if "errorDeclaration" in one]
    ids = {one["bizStep"]: one for one in told}
    assert set(ids) == {"cycle_counting", "packing"}
    recounts = [one["eventID"] for one in events(*EVERY) if one["bizStep"] == "stock_taking"]
    for wrong in told:
        (first, second) = [one for one in events(*EVERY) if one["eventID"] == wrong["eventID"]]
        assert first | {"errorDeclaration": wrong["errorDeclaration"]} == second
        assert wrong["errorDeclaration"]["reason"] == "incorrect_data"
        assert set(wrong["errorDeclaration"]["correctiveEventIDs"]) <= set(recounts)
    right = [entry(counted(4), "c"), entry(Recounted(4, "bin", (), "p"), "r", late=5)]
    assert not [one for one in events(*right) if "errorDeclaration" in one]
    from_photo = [entry(counted(4), "c"), entry(Recounted(5, "photo", (), "p"), "r", late=5)]
    assert not [one for one in events(*from_photo) if "errorDeclaration" in one], (
        "a look at the photo is evidence alone"
    )


def test_an_adjustment_names_its_recount_and_both_directions() -> None:
    more, fewer = events(entry(Adjusted("r", 0, (("MUG", 2), ("PEN", -2))), "a"))
    assert (more["binventory:delta"], fewer["binventory:delta"]) == (2, -2)
    assert [one["quantity"] for one in fewer["quantityList"]] == [2]
    assert more["binventory:follows"] == events(entry(Recounted(1, "bin"), "r"))[0]["eventID"]
    assert events(entry(Adjusted("r", 0), "a")) == []


def test_a_receiver_tells_discrepancies_as_events() -> None:
    told = discrepancies([one for one in EVERY if one.consignment], {"T1": 2, "T2": 5})
    (one,) = epcis.discrepancies(told, "C 1", "Halle 1", NOW)["epcisBody"]["eventList"]  # type: ignore[index]
    assert one["parentID"] == f"https://id.gs1.org/00/{SSCC}"
    assert (one["action"], one["bizStep"], one["disposition"]) == ("OBSERVE", "receiving", "mismatch_quantity")
    assert one["childQuantityList"][0]["quantity"] == 2
    assert (one["binventory:discrepancy"], one["binventory:difference"]) == ("short-shipped", -1)


def told_of(consignment: str, found: list[Discrepancy], at: datetime = NOW) -> list[dict[str, Any]]:
    told = epcis.discrepancies(found, consignment, "Halle 1", at)["epcisBody"]
    assert isinstance(told, dict)
    return list(told["eventList"])


def test_every_discrepancy_has_its_own_event_and_the_same_findings_the_same_document() -> None:
    def found(bin: str, quantity: int, declared: int = 9) -> Discrepancy:
        return Discrepancy(bin, None, declared, quantity, quantity - declared, "short-shipped", "CP")

    told = [
        *told_of("X:1", [found("2", 3)]),
        *told_of("X", [found("1:2", 3), found("1:2", 4), found("1:2", 3, 8)]),
        *told_of("X", [found("1:2", 3)], NOW + timedelta(minutes=1)),
    ]
    assert len({one["eventID"] for one in told}) == len(told)
    assert told_of("X", [found("1:2", 3)]) == told_of("X", [found("1:2", 3)])


@settings(max_examples=50)
@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_any_name_makes_a_uri(bin: str, site: str) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in bin + site):
        return
    (one,) = epcis.document([entry(counted(3), bin=bin)], site)["epcisBody"]["eventList"]  # type: ignore[index]
    assert one["readPoint"]["id"].isascii()
    assert one["readPoint"]["id"].count(":") == 4
    assert not set(one["readPoint"]["id"]) & set(' <>"{}|\\^`/#?')

"""Entries as one GS1 EPCIS 2.0 document (JSON-LD, vocabulary CBV 2.0): what was seen, moved and packed, when, where.

- A photo's count: an ObjectEvent OBSERVE, ``cycle_counting``. Of how many it was not sure stands beside it
  (``binventory:confidence``, ``binventory:interval``); a count of more than 20 has no quantity.
- A recount at the bin: OBSERVE, ``stock_taking``; one from a photo: ``inspecting``.
- A movement: OBSERVE, ``storing`` or ``picking`` (ADD and DELETE would say that items came to be, or ceased to).
- An adjustment: OBSERVE, ``stock_taking``, one event for what was added to the record, one for what was taken off it
  (``binventory:delta``), with the recount that it follows (``binventory:follows``).
- A consignment's tote: an AggregationEvent ADD, ``packing``, its parent the tote.
- A count or a tote's declaration that a recount at the bin found wrong stands a second time with an errorDeclaration
  that names the recount, as the standard (7.4.1) has it.

Articles and totes are GS1 Digital Links where a GTIN or SSCC is known; bins, SKUs and all else are private URNs of the
site. Items that nobody told apart are of the class ``any``. An event's id follows from the site and the entry's key:
the same entries make the same document.

What EPCIS does not carry: expectations, verdicts, approvals, bundles, photos and files set aside are no events. Sizes,
names and values of articles, distributions, who entered what, and notes stay in the book.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from binventory.book.entries import Adjusted, Counted, Declared, Entry, Expected, Moved, Recounted, keyed, stamped
from binventory.book.exchange.discrepancies import Discrepancy
from binventory.records import TAIL, Item, level

CONTEXT = ("https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld", {"binventory": "urn:binventory:"})
ANY = "any"

Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Names:
    """How things of a site are called in events. ``gtins``: by SKU, as far as any entry told one."""

    site: str
    gtins: Mapping[str, str]

    def of(self, what: str, name: str) -> str:
        return f"urn:binventory:{quote(self.site, safe='')}:{what}:{quote(name, safe='')}"

    def event(self, key: str, *part: str) -> str:
        return uuid.uuid5(uuid.NAMESPACE_URL, ":".join((self.of("entry", key), *part))).urn

    def article(self, sku: str | None, gtin: str | None = None) -> str:
        if gtin := gtin or self.gtins.get(sku or ""):
            return f"https://id.gs1.org/01/{gtin.zfill(14)}"
        return self.of("sku", sku) if sku else self.of("class", ANY)

    def tote(self, bin: str, sscc: str | None) -> str:
        return f"https://id.gs1.org/00/{sscc}" if sscc else self.of("tote", bin)


def document(entries: Iterable[Entry], site: str) -> dict[str, object]:
    """The events of the entries, in their order, as one EPCISDocument. ``site``: names it in every URI."""
    known = list(entries)
    names = _Names(site, _gtins(known))
    events = [event for entry in known for event in _events(entry, names)]
    return _document(events + _corrections(known, names), max((one.entered or one.at for one in known), default=None))


def discrepancies(found: Sequence[Discrepancy], consignment: str, site: str, at: datetime) -> dict[str, object]:
    """What a receiver found other than declared, as one EPCISDocument: of each tote an AggregationEvent OBSERVE,
    ``receiving``, with the RECADV word and code, its disposition ``mismatch_quantity``.

    ``at``: when it was found, as of the latest recount. An event's id follows from all that it tells, ``at`` included:
    the same findings make the same document, and nothing else has their ids.
    """
    names = _Names(site, {})
    events = []
    for one in found:
        key = keyed("discrepancy", consignment, msgspec.json.encode(one).decode(), stamped(at))
        event = _event(names.event(key), "AggregationEvent", "OBSERVE", "receiving", at)
        events.append(event | {
            "disposition": "mismatch_quantity",
            "parentID": names.tote(one.bin, one.sscc),
            "childQuantityList": [_quantity(names.article(None), one.found)],
            "bizTransactionList": [_despatch(consignment, names)],
            **({} if one.declared is None else {"binventory:declared": one.declared}),
            "binventory:difference": one.difference,
            "binventory:discrepancy": one.word,
            "binventory:discrepancyCode": one.code,
        })  # fmt: skip
    return _document(events, at)


def _document(events: Sequence[Event], created: datetime | None) -> dict[str, object]:
    return {
        "@context": list(CONTEXT),
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": stamped(created or datetime.fromtimestamp(0, UTC)),
        "epcisBody": {"eventList": list(events)},
    }


def _events(entry: Entry, names: _Names) -> list[Event]:
    """What happened, as events; none where nothing was seen or moved."""
    if entry.bin is None:
        return []
    place = {"id": names.of("bin", entry.bin)}
    event = _event(names.event(entry.key), "ObjectEvent", "OBSERVE", "cycle_counting", entry.at)
    if entry.entered is not None:
        event["recordTime"] = stamped(entry.entered)
    if entry.consignment is not None:
        event["bizTransactionList"] = [_despatch(entry.consignment, names)]
    here = {"readPoint": place, "bizLocation": place}
    match entry.body:
        case Counted() as body:
            count = body.count
            seen = [_quantity(names.article(None), None if count.count == TAIL else count.count)]
            doubt = {"binventory:confidence": round(count.confidence, 6), "binventory:interval": list(body.interval)}
            return [event | here | {"quantityList": seen} | doubt]
        case Recounted() as body:
            told = [_quantity(names.article(line.sku), line.quantity) for line in body.lines]
            rest = body.quantity - sum(line.quantity for line in body.lines)
            if rest > 0 or not told:
                told.append(_quantity(names.article(None), max(rest, 0)))
            step = "stock_taking" if body.where == "bin" else "inspecting"
            return [event | here | {"bizStep": step, "quantityList": told}]
        case Moved() as body:
            moved = [_quantity(names.article(body.sku, body.gtin), abs(body.delta))]
            if body.reference:
                event["binventory:reference"] = body.reference
            if body.delta < 0:  # what was taken out is no longer here
                return [event | {"readPoint": place, "bizStep": "picking", "quantityList": moved}]
            return [event | here | {"bizStep": "storing", "quantityList": moved}]
        case Declared() as body:
            return [event | {
                "type": "AggregationEvent", "action": "ADD", "bizStep": "packing",
                "parentID": names.tote(entry.bin, body.sscc), "childQuantityList": _declared(body, names),
            }]  # fmt: skip
        case Adjusted() as body:
            lines = [(sku or None, delta) for sku, delta in body.lines]
            rest = body.delta - sum(delta for _, delta in lines)
            lines += [(None, rest)] if rest else []
            return [
                event | here | {
                    "eventID": names.event(entry.key, "more" if sign > 0 else "fewer"),
                    "bizStep": "stock_taking",
                    "quantityList": [_quantity(names.article(sku), abs(delta)) for sku, delta in part],
                    "binventory:delta": sum(delta for _, delta in part),
                    "binventory:follows": names.event(body.of),
                }
                for sign in (1, -1)
                if (part := [(sku, delta) for sku, delta in lines if delta * sign > 0])
            ]  # fmt: skip
    return []


def _corrections(entries: Sequence[Entry], names: _Names) -> list[Event]:
    """The events that a later recount at the bin found wrong, once more, with the declaration of the error."""
    last: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        if isinstance(entry.body, Recounted) and entry.body.where == "bin":
            last |= {(entry.bin, whose): entry for whose in (entry.body.photo, entry.consignment) if whose}
    events: list[Event] = []
    for entry in entries:
        if isinstance(entry.body, Counted):
            said, recount = entry.body.count.count, last.get((entry.bin, entry.body.photo))
        elif isinstance(entry.body, Declared):
            said, recount = entry.body.quantity, last.get((entry.bin, entry.consignment))
        else:
            continue
        if recount is None or not isinstance(recount.body, Recounted) or recount.at < entry.at:
            continue
        found = recount.body.quantity
        if (level(found) if isinstance(entry.body, Counted) else found) != said:
            error = {
                "declarationTime": stamped(recount.entered or recount.at),
                "reason": "incorrect_data",
                "correctiveEventIDs": [names.event(recount.key)],
            }
            events += [event | {"errorDeclaration": error} for event in _events(entry, names)]
    return events


def _event(id: str, type: str, action: str, step: str, at: datetime) -> Event:
    return {
        "type": type, "eventID": id, "eventTime": stamped(at), "eventTimeZoneOffset": "+00:00", "action": action,
        "bizStep": step,
    }  # fmt: skip


def _quantity(article: str, quantity: int | None) -> dict[str, object]:
    """``quantity`` None: EPCIS's own way to say that it is not known."""
    return {"epcClass": article} if quantity is None else {"epcClass": article, "quantity": quantity}


def _declared(body: Declared, names: _Names) -> list[dict[str, object]]:
    told = [_quantity(names.article(item.sku, item.gtin), item.quantity) for item in body.items]
    return told or [_quantity(names.article(None), body.quantity)]


def _despatch(consignment: str, names: _Names) -> dict[str, str]:
    return {"type": "desadv", "bizTransaction": names.of("consignment", consignment)}


def _gtins(entries: Iterable[Entry]) -> dict[str, str]:
    """The GTIN of each SKU, as the last entry that knows one says."""
    found: dict[str, str] = {}
    for entry in entries:
        body = entry.body
        lines: Sequence[Item | Moved] = ()
        if isinstance(body, Expected | Declared):
            lines = body.items
        elif isinstance(body, Moved):
            lines = (body,)
        found |= {line.sku: line.gtin for line in lines if line.sku and line.gtin}
    return found

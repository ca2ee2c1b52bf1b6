"""What tests of HTML pages share."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = '"><script>alert(1)</script>'


class Parts(HTMLParser):
    """What a page consists of: elements with attributes, and the text of row headers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headers: list[str] = []
        self._in_header = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_header = tag == "th" and ("scope", "row") in attrs

    def handle_data(self, data: str) -> None:
        if self._in_header:
            self.headers.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_header = self._in_header and tag != "th"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

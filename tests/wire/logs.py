"""CloudWatch Logs, as far as the log of a job goes: streams of a group, and their lines in pages."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from wire.server import RefusalError, Wire, paged

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log, and when it came, in milliseconds of the epoch."""

    timestamp: int
    message: str


class Logs:
    """The log groups of a wire."""

    def __init__(self, wire: Wire) -> None:
        self.groups: dict[str, dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
        wire.on("Logs_20140328.DescribeLogStreams", self.describe)
        wire.on("Logs_20140328.GetLogEvents", self.get)

    def add(self, group: str, stream: str, message: str) -> None:
        """A line, as an agent would send it."""
        self.groups[group][stream].append(Line(int(time.time() * 1000), message))

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        group = request["logGroupName"]
        if group not in self.groups:
            raise RefusalError("ResourceNotFoundException", "The specified log group does not exist.")
        names = sorted(name for name in self.groups[group] if name.startswith(request.get("logStreamNamePrefix", "")))
        rows = [{"logStreamName": name} for name in names]
        asked = {"NextToken": request.get("nextToken", "0"), "MaxResults": request.get("limit", 50)}
        page = paged(rows, asked, "logStreams")
        return {"nextToken" if name == "NextToken" else name: value for name, value in page.items()}

    def get(self, request: dict[str, Any]) -> dict[str, Any]:
        """Lines from a token on. At the end the token that was given comes back, as CloudWatch has it."""
        lines = self.groups.get(request["logGroupName"], {}).get(request["logStreamName"])
        if lines is None:
            raise RefusalError("ResourceNotFoundException", "The specified log stream does not exist.")
        start = int(request["nextToken"].removeprefix("f/")) if "nextToken" in request else 0
        stop = min(len(lines), start + _PAGE)
        events = [
            {"timestamp": line.timestamp, "message": line.message, "ingestionTime": line.timestamp}
            for line in lines[start:stop]
        ]
        return {"events": events, "nextForwardToken": f"f/{stop}", "nextBackwardToken": f"b/{start}"}

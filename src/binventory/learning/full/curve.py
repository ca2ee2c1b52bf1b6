"""A training's metrics as one SVG picture: losses on the left, what validate gets right on the right. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Environment, StrictUndefined

_LEFT, _TOP = 46, 34


def drawn(rows: Sequence[Mapping[str, float]], wide: int = 300, high: int = 180) -> str:
    """The metrics of each epoch (``train_loss``, ``validate_log_loss``, ``validate_accuracy``, ``validate_within_one``)
    as SVG text, readable on light and dark paper; each of the two plots ``wide`` x ``high`` units, text of 11."""
    losses = {name: [row[name] for row in rows] for name in ("train_loss", "validate_log_loss")}
    shares = {name: [row[name] for row in rows] for name in ("validate_accuracy", "validate_within_one")}
    top = max(value for values in losses.values() for value in values)
    bottom = min(value for values in losses.values() for value in values)
    margin = max(0.05 * (top - bottom), 0.01)
    plots = [
        _plot("Loss", losses, (bottom - margin, top + margin), (wide, high), "{:.2f}"),
        _plot("Validate", shares, (0.0, 1.0), (wide, high), "{:.0%}"),
    ]
    return _PAGE.render(plots=plots, epochs=len(rows), wide=wide, high=high, left=_LEFT, top=_TOP)


def _plot(
    title: str, series: Mapping[str, Sequence[float]], ends: tuple[float, float], size: tuple[int, int], form: str
) -> dict[str, object]:
    (low, high), (wide, tall) = ends, size
    scale = tall / (high - low)

    def y(value: float) -> float:
        return round(tall - (value - low) * scale, 1)

    def x(number: int, of: int) -> float:
        return round(wide * (number + 1) / of, 1)

    return {
        "title": title,
        "ticks": [(y(value), form.format(value)) for value in (low + (high - low) * part / 4 for part in range(5))],
        "lines": [
            {
                "name": name.replace("_", " "),
                "last": form.format(values[-1]),
                "points": [(x(number, len(values)), y(value)) for number, value in enumerate(values)],
            }
            for name, values in series.items()
        ],
    }


_PAGE = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ 2 * (wide + left + 40) }} {{ high + top + 60 }}" role="img"
 font-family="system-ui, sans-serif" font-size="11">
<title>Training, epoch by epoch</title>
<style>
svg { background: #fff; color: #1d2733 } .rule { stroke: #d5dbe1 } .a { stroke: #0b6bcb; fill: #0b6bcb }
.b { stroke: #b8500f; fill: #b8500f } text { fill: currentColor; stroke: none }
polyline.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) { svg { background: #12181f; color: #e3e9ef } .rule { stroke: #323d48 }
.a { stroke: #6ab2ff; fill: #6ab2ff } .b { stroke: #f2a065; fill: #f2a065 } }
</style>
{% for plot in plots %}
<g transform="translate({{ loop.index0 * (wide + left + 40) + left }} {{ top }})">
<text y="-16" font-size="13" font-weight="600">{{ plot.title }}</text>
{% for y, label in plot.ticks %}
<line class="rule" x2="{{ wide }}" y1="{{ y }}" y2="{{ y }}"/>
<text x="-6" y="{{ y + 4 }}" text-anchor="end">{{ label }}</text>
{% endfor %}
{% for line in plot.lines %}
{% set ink, place = "ab"[loop.index0], 150 * loop.index0 %}
<polyline class="line {{ ink }}" points="{% for x, y in line.points %}{{ x }},{{ y }} {% endfor %}"/>
{% for x, y in line.points %}<circle class="{{ ink }}" cx="{{ x }}" cy="{{ y }}" r="2.5"/>{% endfor %}

<circle class="{{ ink }}" cx="{{ 4 + place }}" cy="{{ high + 40 }}" r="4"/>
<text x="{{ 13 + place }}" y="{{ high + 44 }}">{{ line.name }} {{ line.last }}</text>
{% endfor %}
<text y="{{ high + 18 }}">0</text>
<text x="{{ wide }}" y="{{ high + 18 }}" text-anchor="end">{{ epochs }} epoch{{ "" if epochs == 1 else "s" }}</text>
</g>
{% endfor %}
</svg>
"""
)

"""Horizontal bars as one SVG file, readable on light and dark pages."""

import dataclasses
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE = 760, 210, 110
ROW, BAR, HEAD, GAP = 28, 18, 44, 18
OURS, THEIRS = "#0b7a75", "#9aa5b1"
STYLE = """text { font: 13px system-ui, sans-serif; fill: #1f2933 }
.title { font-weight: 600; font-size: 15px }
.note { fill: #616e7c; font-size: 12px }"""


@dataclasses.dataclass
class Panel:
    """One diagram: a title, what a bar means, and (label, value) from the best on."""

    title: str
    note: str
    unit: str
    bars: list


def draw(panels):
    """Returns all panels, one below the other, as an SVG document."""
    parts, top = [], GAP
    for panel in panels:
        parts.extend(draw_panel(panel, top))
        top += HEAD + ROW * len(panel.bars) + GAP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{top}" rx="6" fill="#ffffff"/>',
        *parts,
        "</svg>\n",
    ])


def draw_panel(panel, top):
    yield f'<text class="title" x="{GAP}" y="{top + 14}">{escape(panel.title)}</text>'
    yield f'<text class="note" x="{GAP}" y="{top + 32}">{escape(panel.note)}</text>'
    room = WIDTH - LABEL - VALUE - GAP
    longest = max(value for _, value in panel.bars)
    for row, (label, value) in enumerate(panel.bars):
        y = top + HEAD + row * ROW
        length = max(2, round(room * value / longest))
        color = OURS if label.startswith("ucr") else THEIRS
        middle = y + BAR - 4
        yield f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>'
        yield f'<rect x="{LABEL}" y="{y}" width="{length}" height="{BAR}" fill="{color}"/>'
        text = f"{three_digits(value)} {panel.unit}"
        yield f'<text x="{LABEL + length + 8}" y="{middle}">{escape(text)}</text>'


def three_digits(value):
    """Writes a number with three digits that mean something."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

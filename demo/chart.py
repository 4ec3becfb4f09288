"""A bar chart as SVG text: panels side by side, one row per contender."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

ROW, BAR = 40, 22
LEFT, PANEL, GAP, TOP = 190, 250, 34, 120
INK, SOFT, LINE = "#1f2933", "#616e7c", "#e4e7eb"
PLAIN, STRONG = "#9fb3c8", "#0f7b6c"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""
# Room for the text behind the longest bar.
LABEL = 78


@dataclass
class Bar:
    label: str
    value: float
    text: str


@dataclass
class Panel:
    title: str
    bars: list


def text(x, y, content, size=13, fill=INK, weight="normal", anchor="start"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(content)}</text>'
    )


def panel_svg(panel, left, highlight):
    longest = max(bar.value for bar in panel.bars) or 1
    room = PANEL - LABEL
    yield text(left, TOP - 22, panel.title, 14, weight="600")
    height = len(panel.bars) * ROW
    yield f'<line x1="{left}" y1="{TOP - 6}" x2="{left}" y2="{TOP + height}" stroke="{LINE}" stroke-width="1.5"/>'
    for row, bar in enumerate(panel.bars):
        strong = bar.label in highlight
        width = max(1.5, room * bar.value / longest)
        y = TOP + row * ROW + (ROW - BAR) / 2
        yield f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{STRONG if strong else PLAIN}"/>'
        weight, fill = ("600", STRONG) if strong else ("normal", INK)
        yield text(left + width + 6, y + BAR / 2 + 4.5, bar.text, 13, fill, weight)


def draw(path, title, panels, highlight):
    """Writes the chart; shorter bars are better in every panel."""
    bars = panels[0].bars
    width = LEFT + len(panels) * (PANEL + GAP)
    height = TOP + len(bars) * ROW + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {FONT} role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(24, 38, title, 19, weight="600"),
        text(24, 60, "Shorter is better. Memory is PSS above that of 4 processes without a model.", 13, SOFT),
    ]
    for row, bar in enumerate(bars):
        strong = bar.label in highlight
        y = TOP + row * ROW + ROW / 2 + 4.5
        parts.append(text(LEFT - 14, y, bar.label, 13, STRONG if strong else INK, "600" if strong else "normal", "end"))
    for index, panel in enumerate(panels):
        parts.extend(panel_svg(panel, LEFT + index * (PANEL + GAP), highlight))
    parts.append("</svg>")
    Path(path).write_text("\n".join(parts) + "\n", encoding="utf-8")

"""Draws a comparison as an SVG: a bar for each ratio, with its figures; readable on light and on dark pages.

No script and nothing that is loaded. The colours follow the reader's preference, on a background of the picture's own.
"""

from html import escape

WIDTH = 760
BAR_LEFT = 110
BAR_WIDTH = 420
ROW_HEIGHT = 22
HEADING_HEIGHT = 34
TOP = 64
FOOT = 16
SUBTITLE = "Median of paired runs (least to most). Shorter is less; the dashed line is the peer's own."

STYLE = """
  .page { fill: #ffffff } .text { fill: #1f2328 } .quiet { fill: #59636e }
  .less { fill: #1a7f5a } .more { fill: #b35900 } .line { stroke: #59636e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #f0f6fc } .quiet { fill: #9198a1 }
    .less { fill: #3fb68b } .more { fill: #e0913a } .line { stroke: #9198a1 }
  }
  text { font: 13px system-ui, sans-serif } .title { font-size: 16px; font-weight: 600 }
  .heading { font-weight: 600 }
"""


def as_svg(rows):
    """The picture of all rows that have a ratio, grouped by workload in their order."""
    groups = {}
    for row in rows:
        if not row.void:
            groups.setdefault(row.workload, []).append((row.peer, row.ratio()))
    ratios = [ratio for group in groups.values() for _, ratio in group]
    # Room for the line at 1, even where every bar is shorter.
    scale = BAR_WIDTH / max([1.0] + [ratio.median for ratio in ratios])
    parts, y = [], TOP
    for workload, group in groups.items():
        parts.append(_text(16, y + 22, "text heading", workload))
        y += HEADING_HEIGHT
        for peer, ratio in group:
            parts.append(_bar(y, peer, ratio, scale))
            y += ROW_HEIGHT
    height = y + FOOT
    one = BAR_LEFT + scale
    line = f'<line class="line" x1="{one:.1f}" y1="{TOP}" x2="{one:.1f}" y2="{y + 4}" stroke-dasharray="3 3"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">',
            '<title id="title">CPU time of Latchkey divided by that of its peers</title>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}"/>',
            _text(16, 28, "text title", "CPU time per request: Latchkey divided by the peer"),
            _text(16, 50, "quiet", SUBTITLE),
            line,
            *parts,
            "</svg>\n",
        ]
    )


def _bar(y, peer, ratio, scale):
    kind = "less" if ratio.median <= 1 else "more"
    width = ratio.median * scale
    figures = f"{ratio.median:.2f} ({ratio.least:.2f} to {ratio.most:.2f})"
    bar = f'<rect class="{kind}" x="{BAR_LEFT}" y="{y + 3}" width="{width:.1f}" height="{ROW_HEIGHT - 6}" rx="2"/>'
    # Beside the line at 1, which would cross figures that stand right behind a bar.
    figures_left = BAR_LEFT + max(width, scale) + 10
    return _text(28, y + 16, "text", peer) + bar + _text(figures_left, y + 16, "text", figures)


def _text(x, y, kind, text):
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}</text>'

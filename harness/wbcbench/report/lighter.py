"""The same picture in half the bytes: a page of many figures has to stay small.

Only tags are changed, never a text: what looks like a number or a style in a text is a text.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter

_TAG = re.compile(r"<(?:path|use|text)\b[^>]*>")
_STYLE = re.compile(r'(<[a-z]+\b[^<>]*?) style="([^"]*)"')
_OFTEN = 3

# A path of straight lines alone, as matplotlib writes them.
_LINES = re.compile(r' d="((?:[ML] -?[\d.]+ -?[\d.]+ |z ?)+)"')
_STEP = re.compile(r"([ML]) (\S+) (\S+) |z")
_MARKS = re.compile(r'<g((?: clip-path="[^"]*")?)>((?:<use [^<>]* class="([^"]*)"/>)+)</g>')


def lighter(svg: str, name: str) -> str:
    """Round coordinates, and say once what is said again and again.

    Args:
        svg: A file as matplotlib writes it.
        name: The figure's; classes are named after it, so that those of two pictures in one page
            are told apart.
    """
    svg = _TAG.sub(lambda tag: _rounded(tag[0]), svg)
    svg = re.sub(r'(<text\b[^>]*?) transform="rotate\(-0 [^)]*\)"', r"\1", svg)
    svg = re.sub(r'<g id="text_\d+">\s*(<text\b[^<]*</text>)\s*</g>', r"\1", svg)
    svg = re.sub(r'<g id="(?:line2d|xtick|ytick)_\d+">', "<g>", svg)
    svg = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", svg))
    svg = _LINES.sub(lambda path: f' d="{_lines(path[1])}"', svg)
    return _with_classes(_with_short_ids(_without_empty_groups(svg)), name)


def _rounded(tag: str) -> str:
    """Coordinates to a tenth of a point: no screen shows a millionth."""
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.1f}", tag)


def _without_empty_groups(svg: str) -> str:
    """Groups that hold one thing and say nothing of it; those around them may then be such too."""
    one = re.compile(r"<g>(<(?:path|use)\b[^>]*/>|<text\b[^<]*</text>)?</g>")
    count = 1
    while count:
        svg, count = one.subn(lambda group: group[1] or "", svg)
    return svg


def _lines(path: str) -> str:
    """Straight lines, with one number for each that runs across or upright."""
    made, x, y = list[str](), "", ""
    for step in _STEP.finditer(path):
        if not step[1]:
            made.append("z")
        elif step[1] == "L" and step[2] == x:
            made.append(f"V{step[3]}")
        elif step[1] == "L" and step[3] == y:
            made.append(f"H{step[2]}")
        else:
            made.append(f"{step[1]}{step[2]} {step[3]}")
        x, y = (step[2], step[3]) if step[1] else ("", "")
    return "".join(made)


def _of_one_class(group: re.Match[str]) -> str:
    """Marks that all look the same say so once."""
    own = f' class="{group[3]}"'
    if group[2].count(own) != group[2].count("<use "):
        return group[0]
    return f"<g{group[1]}{own}>{group[2].replace(own, '')}</g>"


def _with_short_ids(svg: str) -> str:
    """Marks and clips are named by digests, each of which is repeated at every mark."""
    digests = dict.fromkeys(re.findall(r'<(?:path|clipPath) id="([mp][0-9a-f]{10})"', svg))
    for i, digest in enumerate(digests):
        svg = re.sub(rf'(id="|"#|url\(#){digest}\b', rf"\g<1>{digest[0]}{i}", svg)
    return svg


def _with_classes(svg: str, name: str) -> str:
    """Styles that stand at many elements become classes."""
    counts = Counter(style for _, style in _STYLE.findall(svg))
    often = [style for style, count in counts.items() if count >= _OFTEN]
    # A digest is shorter than the name and stands at every tick.
    prefix = f"c{zlib.crc32(name.encode()):08x}"[:6]
    classes = {style: f"{prefix}-{i}" for i, style in enumerate(often)}
    svg = _STYLE.sub(
        lambda tag: f'{tag[1]} class="{classes[tag[2]]}"' if tag[2] in classes else tag[0], svg
    )
    svg = _MARKS.sub(_of_one_class, svg)
    rules = "".join(f".{each}{{{style}}}" for style, each in classes.items())
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}<style>{rules}</style>{svg[start:]}" if rules else svg

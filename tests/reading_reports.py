"""Making a study's report in a test, and reading it as a reader or a browser would."""

from __future__ import annotations

from html.parser import HTMLParser

import html5lib

from builders.run import make_record, save
from wbcbench.report.publish import publish


def published(results, study="runs"):
    """The page, the Markdown and the figures by name."""
    files = publish(results, study, results / "reports")
    return {path.name: path.read_text(encoding="utf-8") for path in files}


def page(results, study="runs"):
    return published(results, study)["report.html"]


def text_of(html):
    """What a reader sees: words without markup, each run of spaces one."""
    tree = html5lib.parse(html, namespaceHTMLElements=False)
    return " ".join(" ".join(tree.find("body").itertext()).split())


def two_variants(tmp_path, **changes):
    save(
        tmp_path,
        *(make_record("leaky-dropout", seed, accuracy=0.80, **changes) for seed in (1, 2, 3)),
        *(make_record("relu-dropout", seed, accuracy=0.76, **changes) for seed in (1, 2, 3)),
    )
    return tmp_path


class Strict(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.links = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "xlink:href", "action", "data", "poster"}:
                self.links.append(value)
            assert not name.startswith("on"), f"{tag} has a handler: {name}"

"""A second page for exploring the runs: one Vega bundle inside, and nothing else is fetched.

Altair writes the charts, vl-convert the bundle. The page's one script is allowed by its digest
alone; expressions run in Vega's own interpreter, so the page needs no right to evaluate text. The
static page stays without any script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from wbcbench.core.errors import UsageError
from wbcbench.core.text import printable
from wbcbench.energy.source import target_score, timeline
from wbcbench.report import Report
from wbcbench.report.drawing import COLOURS
from wbcbench.report.study import ReportStudy
from wbcbench.table.view import Run

INTERACTIVE_FILE = "interactive.html"

_AXES = {"joules": "spent_j", "seconds": "spent_s", "epochs": "epoch"}
_SIDE = 460
_SNIPPET = """
const spec = JSON.parse(document.getElementById("charts").textContent);
vegaEmbed("#shown", spec, {ast: true, actions: false, renderer: "svg"}).catch((error) => {
  document.getElementById("shown").textContent = "The charts cannot be drawn: " + error.message;
});
"""


def to_interactive(report: Report, study: ReportStudy) -> bytes:
    """The page.

    Raises:
        UsageError: What draws it is not installed.
    """
    script = _script()
    page = _template().render(
        title=report.title,
        banners=report.banners,
        note=_note(study),
        spec=_harmless(_spec(study)),
        script=script,
        digest=_digest(script),
    )
    return str(page).encode()


def _note(study: ReportStudy) -> str:
    words = f"Energy: {study.energy_words}." if study.comparable else "No joules are known."
    return f"{words} Shown are {len(_shown(study))} of {len(study.runs)} runs.{study.stamp}"


def _shown(study: ReportStudy) -> tuple[Run, ...]:
    """Runs whose joules may stand on one axis; all finished ones where no joules are known."""
    runs = study.comparable or study.done
    return tuple(run for run in runs if run.row["balanced_accuracy"] is not None)


def _spec(study: ReportStudy) -> dict[str, Any]:
    alt = _altair()
    runs = _shown(study)
    if not runs:
        return _nothing(alt)
    picked = alt.selection_interval(name="picked")
    named = alt.selection_point(name="named", fields=["variant"], bind="legend")
    picks = (picked, named, _by_block(alt, sorted({run.row["block"] for run in runs})))
    x = ("energy_j", "energy in training (J)") if study.comparable else ("time_s", "time (s)")
    lines = [line for run in runs for line in _lines(run)]
    charts = alt.vconcat(
        _scatter(alt, [_point(run) for run in runs], x, picks, study.variants),
        _curves(alt, lines, picks, study.variants),
        name="charts",
    )
    made: dict[str, Any] = charts.to_dict()
    return made


def _by_block(alt: Any, blocks: list[int]) -> Any:
    choice = alt.binding_select(
        options=[None, *blocks], labels=["all", *map(str, blocks)], name="Block: "
    )
    return alt.selection_point(name="blocked", fields=["block"], bind=choice)


def _all(picks: tuple[Any, ...]) -> Any:
    """Runs that every way of picking leaves."""
    picked, named, blocked = picks
    return picked & named & blocked


def _scatter(
    alt: Any, points: list[dict[str, Any]], x: tuple[str, str], picks: Any, variants: list[str]
) -> Any:
    tips = ("run", "variant", "block", "energy_j", "time_s", "balanced_accuracy", "accuracy")
    return (
        alt.Chart(_values(alt, points), name="scatter", width=_SIDE, height=_SIDE * 0.7)
        .mark_point(filled=True, size=80)
        .encode(
            x=alt.X(x[0], type="quantitative", title=x[1]).scale(zero=False),
            y=alt.Y(
                "balanced_accuracy", type="quantitative", title="balanced accuracy, TEST"
            ).scale(zero=False),
            color=_colour(alt, variants),
            shape=alt.Shape("variant", type="nominal", legend=None),
            opacity=alt.condition(_all(picks), alt.value(0.95), alt.value(0.15)),
            tooltip=_tips(alt, *tips),
        )
        .add_params(*picks)
        .properties(title="Drag over runs, or click a variant in the legend")
    )


def _curves(alt: Any, lines: list[dict[str, Any]], picks: Any, variants: list[str]) -> Any:
    axis = alt.param(
        name="axis",
        value="joules",
        bind=alt.binding_radio(options=list(_AXES), name="Learning curves over: "),
    )
    place = " : ".join(f"axis == '{word}' ? datum.{name}" for word, name in _AXES.items())
    return (
        alt.Chart(_values(alt, lines), name="curves", width=_SIDE, height=_SIDE * 0.6)
        .transform_calculate(place=f"{place} : null")
        .transform_filter(_all(picks))
        .transform_filter("isValid(datum.place)")
        .mark_line(point=True)
        .encode(
            x=alt.X("place", type="quantitative", title="joules, seconds or epochs of training"),
            y=alt.Y("score", type="quantitative", title="validation metric").scale(zero=False),
            color=_colour(alt, variants),
            detail="run:N",
            order=alt.Order("epoch", type="quantitative"),
            tooltip=_tips(alt, "run", "epoch", "spent_j", "spent_s", "score"),
        )
        .add_params(axis)
        .properties(title="Learning curves of the runs picked above")
    )


def _colour(alt: Any, variants: list[str]) -> Any:
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(variants))]
    return alt.Color("variant", type="nominal").scale(
        domain=[_word(variant) for variant in variants], range=colours
    )


def _tips(alt: Any, *names: str) -> list[Any]:
    words = {"run", "variant"}
    return [
        alt.Tooltip(name, type="nominal" if name in words else "quantitative") for name in names
    ]


def _values(alt: Any, rows: list[dict[str, Any]]) -> Any:
    return alt.InlineData(values=rows)


def _point(run: Run) -> dict[str, Any]:
    row = run.row
    return {
        "run": _word(run.run_id),
        "variant": _word(run.spec.variant),
        "block": row["block"],
        "energy_j": run.train_energy_j,
        "time_s": row["time_train_s"],
        "balanced_accuracy": row["balanced_accuracy"],
        "accuracy": row["accuracy"],
    }


def _lines(run: Run) -> list[dict[str, Any]]:
    """One row an epoch, with the run's own point, by which the curves are picked."""
    whole = _point(run)
    return [
        {
            **whole,
            "epoch": point.epoch.index,
            "spent_j": point.energy_j,
            "spent_s": point.time_s,
            "score": target_score(run.record, point.epoch),
        }
        for point in timeline(run.record, run.primary)
    ]


def _word(text: str) -> str:
    return printable(text)


def _nothing(alt: Any) -> dict[str, Any]:
    """A page with words alone: no run has an accuracy."""
    words = alt.InlineData(values=[{"words": "No finished run has an accuracy to show."}])
    made: dict[str, Any] = (
        alt.Chart(words, name="nothing").mark_text().encode(text="words:N").to_dict()
    )
    return made


def _harmless(spec: dict[str, Any]) -> str:
    """JSON in which no text can close the element it stands in."""
    text = json.dumps(spec, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _script() -> str:
    """The bundle with our few lines, as they stand in the page."""
    _altair()
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_SNIPPET)
    return bundle.replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _altair() -> Any:
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"The interactive page needs {error.name}, which is not installed. Install the extra "
            "with: pip install 'wbcbench[interactive]', or leave --interactive out."
        ) from error
    return altair


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    path = resources.files("wbcbench.report") / "templates/interactive.html.j2"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(path.read_text(encoding="utf-8"))

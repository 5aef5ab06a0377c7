"""A second page for exploring the runs: one Vega bundle inside, and nothing else is fetched.

Altair writes the charts, vl-convert the bundle. The page's one script is allowed by its digest
alone; expressions run in Vega's own interpreter, so the page needs no right to evaluate text. The
static page has no script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from wbcbench.core.errors import UsageError
from wbcbench.report import Report
from wbcbench.report.study import ReportStudy
from wbcbench.report.style import COLOURS, clean_line
from wbcbench.table.view import Run

if TYPE_CHECKING:
    from jinja2 import Template

INTERACTIVE_FILE = "interactive.html"

_AXES = {"joules": "spent_j", "seconds": "spent_s", "epochs": "epoch"}
_SIDE = 460
_NUMBERS = ("block", "energy_j", "time_s", "balanced_accuracy", "accuracy")
_SNIPPET = """
const spec = JSON.parse(document.getElementById("charts").textContent);
vegaEmbed("#shown", spec, {ast: true, actions: false, renderer: "svg"}).catch((error) => {
  document.getElementById("shown").textContent = "The charts cannot be drawn: " + error.message;
});
"""


def to_interactive(report: Report, study: ReportStudy, template: Template) -> bytes:
    """The page.

    Raises:
        UsageError: What draws it is not installed.
    """
    script = _load_script()
    runs = [
        run for run in study.comparable or study.done if run.row["balanced_accuracy"] is not None
    ]
    energy = f"Energy: {study.energy_words}." if study.comparable else "No joules are known."
    # No text can close the element that this stands in.
    spec = json.dumps(_build_spec(study, runs), sort_keys=True, allow_nan=False)
    for sign in "<>&":
        spec = spec.replace(sign, f"\\u{ord(sign):04x}")
    page = template.render(
        title=report.title,
        notices=report.notices,
        note=f"{energy} Shown are {len(runs)} of {len(study.runs)} runs.{study.stamp}",
        spec=spec,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return page.encode()


def _build_spec(study: ReportStudy, runs: list[Run]) -> dict[str, Any]:
    """The charts; runs are comparable ones, or all finished ones where no joules are known."""
    alt = _import_altair()
    if not runs:
        words = alt.InlineData(values=[{"words": "No finished run has an accuracy to show."}])
        chart = alt.Chart(words, name="nothing").mark_text().encode(text="words:N")
        empty: dict[str, Any] = chart.to_dict()
        return empty
    blocks = sorted({run.row["block"] for run in runs})
    choice = alt.binding_select(
        options=[None, *blocks], labels=["all", *map(str, blocks)], name="Block: "
    )
    selections = (
        alt.selection_interval(name="picked"),
        alt.selection_point(name="named", fields=["variant"], bind="legend"),
        alt.selection_point(name="blocked", fields=["block"], bind=choice),
    )
    variants = study.variants
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(variants))]
    colour = alt.Color("variant:N").scale(domain=list(map(clean_line, variants)), range=colours)
    x = ("energy_j", "energy in training (J)") if study.comparable else ("time_s", "time (s)")
    charts = alt.vconcat(
        _build_scatter(alt, [_build_point(run) for run in runs], x, selections, colour),
        _build_curves(
            alt, [line for run in runs for line in _build_lines(study, run)], selections, colour
        ),
        name="charts",
    )
    spec: dict[str, Any] = charts.to_dict()
    return spec


def _build_scatter(
    alt: Any, points: list[dict[str, Any]], x: tuple[str, str], selections: Any, colour: Any
) -> Any:
    interval, legend, block = selections
    y = alt.Y("balanced_accuracy:Q", title="balanced accuracy, TEST")
    return (
        alt.Chart(alt.InlineData(values=points), name="scatter", width=_SIDE, height=_SIDE * 0.7)
        .mark_point(filled=True, size=80)
        .encode(
            x=alt.X(f"{x[0]}:Q", title=x[1]).scale(zero=False),
            y=y.scale(zero=False),
            color=colour,
            shape=alt.Shape("variant:N", legend=None),
            opacity=alt.condition(interval & legend & block, alt.value(0.95), alt.value(0.15)),
            tooltip=["run:N", "variant:N", *(f"{name}:Q" for name in _NUMBERS)],
        )
        .add_params(*selections)
        .properties(title="Drag over runs, or click a variant in the legend")
    )


def _build_curves(alt: Any, lines: list[dict[str, Any]], selections: Any, colour: Any) -> Any:
    interval, legend, block = selections
    axis = alt.param(
        name="axis",
        value="joules",
        bind=alt.binding_radio(options=list(_AXES), name="Learning curves over: "),
    )
    place = " : ".join(f"axis == '{word}' ? datum.{name}" for word, name in _AXES.items())
    return (
        alt.Chart(alt.InlineData(values=lines), name="curves", width=_SIDE, height=_SIDE * 0.6)
        .transform_calculate(place=f"{place} : null")
        .transform_filter(interval & legend & block)
        .transform_filter("isValid(datum.place)")
        .mark_line(point=True)
        .encode(
            x=alt.X("place:Q", title="joules, seconds or epochs of training"),
            y=alt.Y("score:Q", title="validation metric").scale(zero=False),
            color=colour,
            detail="run:N",
            order="epoch:Q",
            tooltip=["run:N", "epoch:Q", "spent_j:Q", "spent_s:Q", "score:Q"],
        )
        .add_params(axis)
        .properties(title="Learning curves of the runs picked above")
    )


def _build_point(run: Run) -> dict[str, Any]:
    return {
        "run": clean_line(run.run_id),
        "variant": clean_line(run.spec.variant),
        "energy_j": run.row["primary_energy_train_j"],
        "time_s": run.row["time_train_s"],
        **{name: run.row[name] for name in ("block", "balanced_accuracy", "accuracy")},
    }


def _build_lines(study: ReportStudy, run: Run) -> list[dict[str, Any]]:
    """One row an epoch, with the run's own point, by which the curves are picked."""
    point, curve = _build_point(run), study.evidence[run].curve
    return [
        {
            **point,
            "epoch": epoch,
            "spent_j": energy_j,
            "spent_s": time_s,
            "score": score,
        }
        for epoch, energy_j, time_s, score in zip(
            curve.epochs, curve.energy_j, curve.time_s, curve.score, strict=True
        )
    ]


@cache
def _load_script() -> str:
    """The bundle with our few lines, as they stand in the page."""
    _import_altair()
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_SNIPPET)
    return bundle.replace("</script", "<\\/script")


def _import_altair() -> Any:
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"The interactive page needs {error.name}, which is not installed. Install the extra "
            "with: pip install 'wbcbench[interactive]', or leave --interactive out."
        ) from error
    return altair

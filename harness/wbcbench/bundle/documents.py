"""The documents of a bundle, and the impact of its study in energy and emissions.

Each document is a template of ``templates/`` filled from ``submission.json`` and the study. Answers
that only its author can give are those of ``study.statement``. Where one is missing, ``[author:
key]`` stands, and the author may put one line in its place later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from wbcbench.bundle import layout
from wbcbench.bundle.describe import SubmittedStudy
from wbcbench.bundle.document import Submission
from wbcbench.compare.render import build_comparison_tables, describe_claim
from wbcbench.core.text import (
    count_of,
    escape_markdown,
    human_duration,
    human_energy,
    human_mass,
    markdown_table,
)
from wbcbench.core.units import kg_from_g, kwh_from_j
from wbcbench.energy.metrics import DEFAULT_PUE, carbon_g, intensity, load_intensities
from wbcbench.study.statement import ANSWERS
from wbcbench.table.derive import spent
from wbcbench.table.view import ABSENT, Run

if TYPE_CHECKING:
    from jinja2 import Environment

DOCUMENTS = (
    layout.README, layout.CITATION, layout.LICENCE, layout.MODEL_CARD, layout.IMPACT,
    layout.APPENDIX, layout.CHECKLIST,
)  # fmt: skip
_PLACE = re.compile(r"\{\{ answers\.(\w+) \}\}")
LICENCES_OF_CFF = re.compile(
    r"MIT|ISC|0BSD|Unlicense|Apache-2\.0|BSD-[23]-Clause|MPL-2\.0|EUPL-1\.2|CC0-1\.0|"
    r"CC-BY(-NC)?(-SA|-ND)?-[1-4]\.0|[AL]?GPL-3\.0-(only|or-later)|GPL-2\.0-(only|or-later)|"
    r"LGPL-2\.1-(only|or-later)|ODbL-1\.0|PDDL-1\.0"
)
"""Of the names that CFF 1.2 knows those that people choose; any other licence has an address."""

_PARTS = {"gpu": "GPU", "cpu": "processor", "dram": "DRAM", "system": "whole machine"}


def make_documents(
    study: SubmittedStudy, submission: Submission, answers: Mapping[str, str] = MappingProxyType({})
) -> dict[str, bytes]:
    """Every document, by its path in the payload, with the author's answers by their key."""
    # Two of the places are cells of a table.
    given = {key: text.replace("|", "\\|") for key, text in answers.items()}
    places = {key: given.get(key, f"[author: {key}]") for key in ANSWERS}
    values = _list_values(study, submission) | {"answers": places}
    get_template = _load_environment().get_template
    return {name: get_template(f"{name}.j2").render(values).encode() for name in DOCUMENTS}


def list_places(name: str) -> list[str]:
    """The keys of the answers that a document has a place for."""
    environment = _load_environment()
    assert environment.loader is not None
    return _PLACE.findall(environment.loader.get_source(environment, f"{name}.j2")[0])


@cache
def _load_environment() -> Environment:
    """Templates of plain text, not HTML: filters escape a value for its place."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("wbcbench.bundle", "templates"),
        autoescape=False,  # Markdown and YAML; see the filters
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "yaml": lambda value: json.dumps(value, ensure_ascii=False),
        "md": lambda text: re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", " ".join(str(text).split())),
        "j": human_energy,
        "s": human_duration,
        "g": human_mass,
        "kwh": lambda energy_j: f"{kwh_from_j(energy_j):.3g} kWh",
        "kg": lambda mass_g: f"{kg_from_g(mass_g):.3g} kg",
        "count": count_of,
        "yes_or_no": lambda value: "Yes" if value else "No",
    }
    return environment


def _list_values(study: SubmittedStudy, submission: Submission) -> dict[str, Any]:
    made_later = {*DOCUMENTS, layout.SUBMISSION, layout.CRATE}
    files = layout.list_files(study.payload).items()
    costs = [*map(spent, map(Run, study.records)), *(each.spent for each in study.deleted)]
    times = [cost.time_s for cost in costs if cost.time_s is not None]
    tables = build_comparison_tables(study.comparison) if study.comparison else ()
    return {
        "submission": submission,
        "study": study,
        "claims": tuple(map(describe_claim, study.reported.planned_claims)),
        "impact": _compute_impact(study, submission),
        "hardware": study.fact("gpu_name") or study.fact("cpu_model") or "unknown",
        "tables": {
            table.title: "\n\n".join(
                [markdown_table(table.headings, table.rows), *map(escape_markdown, table.below)]
            )
            for table in tables
        },
        "wall_s": sum(times) if times else None,
        "payload_bytes": sum(path.stat().st_size for name, path in files if name not in made_later),
        "date": submission.created_utc[:10],
        "is_known_to_cff": bool(LICENCES_OF_CFF.fullmatch(submission.licence)),
        "byline": study.report.byline,
        "has_lock": (study.payload / layout.LOCK).exists(),
        "results_folder": layout.study_dir(study.name).as_posix(),
        "report_folder": layout.report_dir(study.name).as_posix(),
        "n_runs": len(study.runs) + len(study.deleted),
        "n_skipped": sum(len(r.dataset.skipped) for r in study.records if r.dataset),
    }


def _compute_impact(study: SubmittedStudy, submission: Submission) -> dict[str, Any]:
    """Energy and emissions of a study, for the statement of impact; ``None`` is unknown.

    Joules of different status are never added. The grams have the status of the primary energy;
    they are derived from energy by one multiplier and rank nothing.
    """
    primary, totals = submission.meter["primary"], submission.energy_total_j
    domain = str(study.fact("primary_domain"))
    energies_j = {
        status: totals.study.get(status, 0.0) + totals.pilot.get(status, 0.0)
        for status in totals.study.keys() | totals.pilot.keys()
    }
    total_j = energies_j.pop(primary.status, None)
    energy_j = total_j if primary.status in totals.study else None
    grid = intensity(study.spec.country)
    grids = sorted(load_intensities().values(), key=lambda i: (i.g_per_kwh, i.zone))
    cleanest, *_, dirtiest = ((i, carbon_g(energy_j, i.g_per_kwh)) for i in grids)
    others = []
    for part in ("gpu", "cpu", "dram"):
        state = submission.meter[part]
        if state.status == ABSENT:
            text = "not counted"
        else:
            text = f"{state.status} ({state.method}), in the records, not included here"
        if part != domain:
            others.append(f"{_PARTS[part]}: {text}")
    return {
        "part": _PARTS.get(domain, domain),
        "method": primary.method,
        "status": primary.status,
        "energy_j": energy_j,
        "wasted_j": totals.wasted.get(primary.status, 0.0),
        "pilot_j": totals.pilot.get(primary.status, 0.0),
        "other_j": energies_j,
        "grid": grid,
        "co2e_g": carbon_g(energy_j, grid.g_per_kwh if grid else None),
        "cleanest": cleanest,
        "dirtiest": dirtiest,
        "other_parts": others,
        "pue": DEFAULT_PUE,
    }

"""Columns: which run this is, of which plan, and how it ended."""

from __future__ import annotations

from wbcbench.core.quality import Severity, Verdict
from wbcbench.table.column import Column, ColumnGroup, from_provenance
from wbcbench.table.view import Run

TABLE_SCHEMA = "1.0"


def status(run: Run) -> str:
    """How the run ended; a finished run whose verdict is invalid counts as invalid."""
    ended = run.record.status
    spoiled = ended == "done" and run.record.verdict is Verdict.INVALID
    return "invalid" if spoiled else ended


def invalid_reason(run: Run) -> str | None:
    """Code of the first caution that makes a run invalid; ``None`` if none does."""
    codes = sorted(c.code for c in run.record.cautions if c.severity is Severity.INVALID)
    return codes[0] if codes else None


GROUP = ColumnGroup(
    "Identity",
    (
        Column(
            "schema_version", "str", "", "version of this table's format", lambda _: TABLE_SCHEMA
        ),
        Column(
            "run_id", "str", "", "variant, seed and digest of the spec", lambda r: r.record.run_id
        ),
        Column(
            "study_id", "str", "", "the study; its folder's name", lambda r: r.record.spec.study
        ),
        from_provenance("plan_sha256", "str", "run outside a plan", "digest of the study's plan"),
        Column("variant", "enum", "", "network of the catalogue", lambda r: r.record.spec.variant),
        Column(
            "activation",
            "enum",
            "variant unknown to this version",
            "first factor: leaky-relu or relu",
            lambda r: r.variant.activation if r.variant else None,
            formula="what variant {variant} is built with, by the catalogue",
        ),
        Column(
            "regulariser",
            "enum",
            "variant unknown to this version",
            "second factor: dropout or batchnorm",
            lambda r: r.variant.regulariser if r.variant else None,
            formula="what variant {variant} is built with, by the catalogue",
        ),
        Column(
            "block", "int", "", "block of the study; 0 = single run", lambda r: r.record.spec.block
        ),
        Column(
            "order_in_block",
            "int",
            "",
            "place in the block",
            lambda r: r.record.spec.order_in_block,
        ),
        Column(
            "order_global", "int", "", "place in the study", lambda r: r.record.spec.order_global
        ),
        Column("seed", "int", "", "initialisation, order, dropout", lambda r: r.record.spec.seed),
        Column(
            "split_seed",
            "int",
            "",
            "draw of the validation set",
            lambda r: r.record.spec.split_seed,
        ),
        Column(
            "status",
            "enum",
            "",
            "done, failed, interrupted or invalid",
            status,
            formula="how the run ended; done with an invalid verdict counts as invalid",
        ),
        Column(
            "invalid_reason",
            "str",
            "run is valid",
            "code of the first invalid caution",
            invalid_reason,
            formula="first by name of the cautions that make a run invalid",
        ),
        Column(
            "synthetic",
            "bool",
            "",
            "drawn images or a made-up signal",
            lambda r: r.record.synthetic,
        ),
        Column(
            "started_utc",
            "datetime",
            "",
            "wall clock, provenance only",
            lambda r: r.record.started_utc,
        ),
        Column(
            "ended_utc", "datetime", "", "wall clock, provenance only", lambda r: r.record.ended_utc
        ),
    ),
)

"""Which joules may be compared: measured ones, unless others are asked for by name."""

from __future__ import annotations

from collections.abc import Sequence

from wbcbench.compare.metric import HEADLINE, Metric
from wbcbench.compare.result import Energy
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Origin
from wbcbench.table.view import ABSENT, Run

_PARTS = {"gpu": "GPU board", "cpu": "processor", "system": "whole machine"}


def headline_joules(runs: Sequence[Run], least_trust: Origin) -> Energy:
    """The joules that speak for these finished runs, or why none do.

    Where statuses differ the joules are named nevertheless, for ``comparable`` to refuse them.
    """
    if not runs:
        return Energy(None, "no run ended well", "")
    if len({run.origins["headline"] for run in runs}) > 1:
        return Energy(HEADLINE, "joules of several kinds", "")
    status = runs[0].origins["headline"]
    if status == ABSENT:
        return Energy(None, "no meter worked, so no joules are compared", "")
    if not _trusted(status, least_trust):
        return Energy(
            None,
            f"the joules of these runs are {status}, so none are compared; "
            f"--channel {status} compares them and says so in every line",
            "",
        )
    cells = runs[0].row
    part = str(cells["headline_domain"])
    words = f"{_PARTS.get(part, part)} energy, {status} ({cells['headline_method']})"
    return Energy("energy_gpu_train_j" if part == "gpu" else HEADLINE, words, status)


def status_of(metric: Metric, runs: Sequence[Run], least_trust: Origin) -> str:
    """Measured, estimated, modelled or synthetic, for joules; empty for anything else.

    Raises:
        CannotMeasureError: Nothing read these joules, or they are further from a sensor than was
            asked for, or some runs' are and others' are not.
    """
    if metric.part is None or not runs:
        return ""
    statuses = sorted({run.origins[metric.part] for run in runs})
    if statuses == [ABSENT]:
        raise CannotMeasureError(
            f"{metric.name}: nothing read these joules in any of the runs; "
            "`wbcbench list parts` names the meters there are."
        )
    if len(statuses) > 1:
        raise CannotMeasureError(
            f"not comparable: {metric.name} is {' in some runs and '.join(statuses)} in others."
        )
    if not _trusted(statuses[0], least_trust):
        raise CannotMeasureError(
            f"{metric.name} is {statuses[0]} in these runs, not {least_trust.value}: no sensor of "
            f"that part was read. To compare {statuses[0]} joules, labelled as such in every line, "
            f"say --channel {statuses[0]}; without joules, --metric balanced_accuracy."
        )
    return statuses[0]


def _trusted(status: str, least_trust: Origin) -> bool:
    return Origin(status).rank <= least_trust.rank

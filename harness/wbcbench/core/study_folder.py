"""A study's folder: its file names, known only here, and finding studies and runs by name."""

from __future__ import annotations

from pathlib import Path

from wbcbench.core.errors import UsageError, unknown_name
from wbcbench.core.run_condition import condition
from wbcbench.core.run_folder import SPEC, RunDir, holds_runs, list_folders
from wbcbench.core.spec import DEFAULT_STUDY, MEASURED

# The names in ``results/<study>/`` beside the folders of the runs.
PLAN = "plan.json"
PLANS = "plan*.json"  # as a pattern: the plan, and those that it replaced
EARLIER_PLANS = "plan-*.json"
INTERIM_ANALYSES = "interim-analyses.json"  # the checks of the stopping rule
DELETED_RUNS = "deleted-runs.json"  # what they have cost
CLAIMS = "claims.toml"  # those of others, put to the test with these runs
SWEEP_LOCK = ".sweep.lock"
JOBS = ".jobs"  # those of a queue, each with the runs that it carries out
PUBLISHED = ".published"  # which of several attempts at a run is the one that counts
RUNS_TABLE = "runs.csv"
CONTRASTS = "contrasts.csv"  # beside the table in a bundle, and beside the page of a report

_NAMED = 5
_PILOT = "-pilot"
_LONGEST = 64  # characters in the name of a study


def pilot_study(study: str) -> str:
    """The study of a study's pilots: a folder of its own, so that no comparison reads them."""
    return study[: _LONGEST - len(_PILOT)] + _PILOT


def is_pilot_study(study: str) -> bool:
    """Whether a study may be that of another's pilots, by its name."""
    return study.endswith(_PILOT)


def earlier_plan(sha256: str) -> str:
    """The name under which a plan is kept once another takes its place."""
    return EARLIER_PLANS.replace("*", sha256[:12])


def studies(results: Path) -> list[str]:
    """Names of the studies that hold at least one run, sorted."""
    if not results.is_dir():
        return []
    return sorted(path.name for path in results.iterdir() if holds_runs(path))


def all_runs(results: Path) -> list[RunDir]:
    """Every folder of a run in every study."""
    return [run for study in studies(results) for run in list_folders(results, study)]


def require_study(results: Path, study: str, *, trained: bool = True) -> Path:
    """The folder of a study that holds runs.

    Args:
        results: Where studies lie.
        study: Its name.
        trained: Whether only runs of trainings will do.

    Raises:
        UsageError: There is none of that name, and the message names those there are; or it holds
            measured programs.
    """
    if trained:
        refuse_programs(study)
    known = [name for name in studies(results) if not (trained and name == MEASURED)]
    if not known:
        raise UsageError(
            f"There are no runs under {results}/. Start one with `wbcbench run --variant "
            "leaky-dropout`, or give their folder with --results."
        )
    if study == DEFAULT_STUDY and study not in known:
        raise UsageError(
            f"Name a study: {', '.join(known[:_NAMED])}{', …' * (len(known) > _NAMED)}."
        )
    if study not in known:
        raise unknown_name("study", study, known)
    return results / study


def refuse_programs(study: str) -> None:
    """Raise ``UsageError`` for the study of measured programs, which no table or report reads."""
    if study == MEASURED:
        raise UsageError(
            f"The study '{MEASURED}' holds programs of `monitor` and `Meter`, not trainings that "
            f"could be compared. See `wbcbench list {MEASURED}` and `wbcbench show RUN`."
        )


def find_run(results: Path, wanted: str) -> RunDir:
    """The run that an id, the unique beginning of one, or a folder names.

    Raises:
        UsageError: No run or more than one fits.
    """
    folder = RunDir(Path(wanted))
    if (folder.path / SPEC).is_file():
        return folder
    runs = all_runs(results)
    exact = [run for run in runs if run.run_id == wanted]
    fitting = exact or [run for run in runs if run.run_id.startswith(wanted)]
    if len(fitting) > 1:
        names = ", ".join(str(run.path) for run in fitting[:_NAMED])
        more = ", …" if len(fitting) > _NAMED else ""
        raise UsageError(f"'{wanted}' fits {len(fitting)} runs: {names}{more}. Give one of them.")
    if not fitting:
        require_any(results, runs)
        raise unknown_name("run", wanted, {run.run_id for run in runs})
    return fitting[0]


def require_any(results: Path, runs: list[RunDir]) -> None:
    """Raise ``UsageError`` with the way out when there is no run at all."""
    if not runs:
        require_study(results, "")


def finished_run(run: RunDir) -> RunDir:
    """The run itself, if it is accounted for.

    Raises:
        UsageError: It has no record.
    """
    if not run.is_finished:
        raise UsageError(f"{run.path} has no record yet. {condition(run).text}")
    return run

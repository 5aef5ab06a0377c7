"""What a submission bundle holds and what each file is called: the only module that knows.

A bundle is a BagIt 1.0 bag, as a folder or as a zip whose one top folder is the bag. Under
``data/`` the study lies exactly as the program keeps it, so that everything that reads a study
reads a bundle; the documents that describe it stand around it. Every path here is POSIX and, unless
it says otherwise, relative to ``data/``. For readers: ``harness/BUNDLE.md``.

    <bag>/
      bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
      data/
        README.md  submission.json  ro-crate-metadata.json  CITATION.cff  LICENSE
        MODEL_CARD.md  IMPACT.md  ARTIFACT_APPENDIX.md  CHECKLIST.md
        results/<study>/     plan, claims, table, contrasts, deleted runs, one folder a run
        results/<study>-pilot/   the pilots of the study, if there were any
        reports/<study>/     the report, its figures and the numbers behind them
        config/  env/  data-manifest/  code/  schemas/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from wbcbench import report
from wbcbench.core import run_folder, study_folder
from wbcbench.core.provenance import LOCK_FILE

SCHEMA = "wbcbench.submission/2"
"""Of the bundle; the number rises when what an older verifier checks would mean something else."""

RULES = 1
"""Of how a bundle follows from its evidence: accounting, statistics, sentences, documents.

The number rises with every change of what the same evidence gives, once a release has it.
"""
RELEASES = {1: "0.1.0"}
"""Rules → the last release that has them."""

# The bag; relative to the bag's own folder.
PAYLOAD = "data"
BAGIT = "bagit.txt"
BAG_INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
TAG_FILES = (BAGIT, BAG_INFO, MANIFEST)
SIGNATURE = f"{TAG_MANIFEST}.sig"
BAGIT_TEXT = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
ZIP_SUFFIX = ".zip"

# The documents.
README = "README.md"
SUBMISSION = "submission.json"
CRATE = "ro-crate-metadata.json"
CITATION = "CITATION.cff"
LICENCE = "LICENSE"
MODEL_CARD = "MODEL_CARD.md"
IMPACT = "IMPACT.md"
APPENDIX = "ARTIFACT_APPENDIX.md"
CHECKLIST = "CHECKLIST.md"

# Settings, machine, images and code.
RESOLVED = "config/resolved.json"
ENVIRONMENT = "env/environment.json"
HOST = "env/host.json"
LOCK = f"env/{LOCK_FILE}"
DATASET = "data-manifest/dataset.json"
IMAGES = "data-manifest/files.csv"
GIT = "code/git.json"
SOURCE = "code/source.tar"
DIFF = "code/uncommitted.diff"
SUBMISSION_SCHEMA = "schemas/submission.schema.json"
RECORD_SCHEMA = "schemas/record.schema.json"

RESULTS = "results"
"""The folder of the study, its pilots and nothing else."""

# The study; relative to its folder.
PLAN = study_folder.PLAN
RUNS_TABLE = study_folder.RUNS_TABLE
RUNS_SCHEMA = "runs.schema.json"
CONTRASTS = study_folder.CONTRASTS
DELETED_RUNS = study_folder.DELETED_RUNS

# A run; relative to its folder. The others are those of ``core.run_folder``.
RECORD = run_folder.RECORD
SPEC = run_folder.SPEC
PHASES = "phases.csv"
BOAMPS = "boamps.json"

# The report; relative to its folder.
REPORT_PAGE = report.PAGE
REPORT_TEXT = report.TEXT
FIGURES = report.FIGURES
FIGURE_DATA = report.FIGURE_DATA

IMAGE_COLUMNS = ("path", "sha256", "bytes", "label", "split", "original_id", "group_id")
"""Of ``data-manifest/files.csv``; an empty cell is unknown."""

PHASE_COLUMNS = ("phase", "start_s", "end_s", "duration_s")
"""Of ``phases.csv``: the record's windows, on the run's monotonic clock."""

RUN_FILES: tuple[str, ...] = (
    run_folder.SPEC, run_folder.BEGAN, run_folder.CHANNELS, run_folder.RECORD, run_folder.MARKS,
    run_folder.EPOCHS, run_folder.PREDICTIONS, run_folder.ATTACHMENT, run_folder.LOG,
    run_folder.TRACES, run_folder.ATTACHED_TRACE, f"{run_folder.TELEMETRY}/*.csv",
)  # fmt: skip
"""What is copied of a run, as patterns; ``PHASES`` and ``BOAMPS`` are made."""

STUDY_FILES: tuple[str, ...] = (
    study_folder.PLAN, study_folder.EARLIER_PLANS, study_folder.CLAIMS,
)  # fmt: skip
"""What is copied of a study beside its runs, as patterns. ``DELETED_RUNS`` is written anew."""

REQUIRED = (
    README, SUBMISSION, CRATE, CITATION, LICENCE, MODEL_CARD, IMPACT, APPENDIX, CHECKLIST,
    RESOLVED, ENVIRONMENT, HOST, DATASET, IMAGES, GIT, SUBMISSION_SCHEMA, RECORD_SCHEMA,
)  # fmt: skip
"""Files of every bundle; ``LOCK``, ``SOURCE`` and ``DIFF`` are optional."""


def study_dir(study: str) -> PurePosixPath:
    """The study's folder; a run's is in it, by its id."""
    return PurePosixPath(RESULTS, study)


def report_dir(study: str) -> PurePosixPath:
    """The report's folder."""
    return PurePosixPath("reports", study)


def required_files(study: str) -> list[str]:
    """Every file that a bundle of this study must have; those of its runs are not included."""
    of_study = (study_dir(study) / name for name in (RUNS_TABLE, RUNS_SCHEMA, CONTRASTS))
    of_report = (report_dir(study) / name for name in (REPORT_PAGE, REPORT_TEXT))
    return [*REQUIRED, *map(str, of_study), *map(str, of_report)]


def source_archive(commit: str, commits: Sequence[str]) -> str:
    """The archive of one commit's source; those before the last have the commit in the name."""
    return SOURCE if commit == commits[-1] else f"code/source-{commit[:12]}.tar"


def bag_name(study: str, ended_utc: str) -> str:
    """What a bundle is called unless its author says otherwise."""
    return f"submission-{study}-{ended_utc[:10]}"


def list_files(folder: Path) -> dict[str, Path]:
    """Every file below a folder by its relative path, sorted."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in files))


def format_manifest(digests: Iterable[tuple[str, str]]) -> str:
    """A manifest: ``digest  path`` a line, sorted by path.

    RFC 8493 has line feeds, carriage returns and per cent signs of a path percent-encoded.

    Args:
        digests: Pairs of path, relative to the bag, and SHA-256.
    """
    escapes = str.maketrans({"%": "%25", "\n": "%0A", "\r": "%0D"})
    return "".join(f"{digest}  {path.translate(escapes)}\n" for path, digest in sorted(digests))

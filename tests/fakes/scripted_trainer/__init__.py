"""A Python whose trainer trains nothing: it speaks a trainer's part in the time that a script says.

``make_python`` makes an environment beside the one that runs the tests: the same packages, and a
``sitecustomize.py`` that puts ``trainer.py`` of this folder in the place of
``wbcbench.train.trainer``. Whatever is started from it, on this machine or on a node, starts its
like. The rest of a run is the package's own: meters, recorder, account, table.

How a run goes is in the file that ``WBCBENCH_SCRIPTED_TRAINER`` names, which may change while jobs
wait for their turn.
"""

from __future__ import annotations

import json
import site
import venv
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
VARIABLE = "WBCBENCH_SCRIPTED_TRAINER"

End = Literal["done", "crash", "fail", "hang", "out-of-memory"]


@dataclass(frozen=True)
class Play:
    """How a run goes.

    Attributes:
        startup_s: Until it is ready, beside the start of Python.
        train_s: Of all epochs together; each takes its part.
        end: ``crash`` is a SIGABRT and ``out-of-memory`` a SIGKILL of its own, ``fail`` an error
            that it tells, ``hang`` an epoch without end that no word ends.
        at_epoch: In which epoch it ends so.
        heeds_stop: Whether ``stop`` ends it after the epoch.
        accuracy: Of the predictions, nearly.
        images: Of the test set that it invents. With 0 it loads the images of the run, as the real
            trainer does, by the cache.
        when: Fields of a spec with the values that they must have for this to count; of several
            plays the last that fits does.
    """

    startup_s: float = 0.0
    train_s: float = 0.5
    end: End = "done"
    at_epoch: int = 1
    heeds_stop: bool = True
    accuracy: float = 0.8
    images: int = 64
    when: dict[str, Any] = field(default_factory=dict)


def write_plays(path: Path, *plays: Play) -> dict[str, str]:
    """Write how runs go; returns the variables of whatever starts them."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps([asdict(play) for play in (Play(), *plays)]))
    new.replace(path)
    return {VARIABLE: str(path)}


def make_python(folder: Path) -> Path:
    """Make the environment in ``folder``; returns its Python. ``wbcbench`` lies beside it."""
    venv.EnvBuilder(symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [*site.getsitepackages(), str(HERE.parents[1])]
    lines = (f"import site; site.addsitedir({where!r})\n" for where in ours)
    (packages / "tests.pth").write_text("".join(lines))
    (packages / "sitecustomize.py").write_text((HERE / "sitecustomize.py").read_text())
    python = folder / "bin" / "python"
    program = folder / "bin" / "wbcbench"
    program.write_text(f'#!/bin/sh\nexec {python} -m wbcbench "$@"\n')
    program.chmod(0o755)
    return python

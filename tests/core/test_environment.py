"""What of a user's settings reaches this process, its children and a command that is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from fakes.user_settings import NOISE, noisy_python, write_shadows
from wbcbench.core.child import PythonChild
from wbcbench.core.environment import (
    changes_computing,
    clean_environment,
    python_path,
    restore_settings,
    set_settings_aside,
)
from wbcbench.core.provenance import provenance
from wbcbench.measure.meter import Meter

# Library → a variable by which a user changes what it does.
OF_LIBRARIES = {
    "keras": "KERAS_MAX_EPOCHS",
    "tensorflow": "TF_USE_LEGACY_KERAS",
    "onednn": "ONEDNN_DEFAULT_FPMATH_MODE",
    "opencv": "OPENCV_IO_MAX_IMAGE_PIXELS",
    "matplotlib": "MPLBACKEND",
    "codecarbon": "CODECARBON_FORCE_RAM_POWER",
    "pandas": "PANDAS_FUTURE_INFER_STRING",
    "scipy": "SCIPY_ARRAY_API",
    "statsmodels": "SM_FORMULA_ENGINE",
    "typst": "TYPST_FONT_PATHS",
}
KEPT = ("HOME", "LD_PRELOAD", "XLA_FLAGS", "OMP_NUM_THREADS", "COLUMNS", "KAGGLE_KEY", "TF_VAR_KEY")


@pytest.mark.parametrize("library", OF_LIBRARIES)
def test_a_users_settings_of_a_library_reach_neither_us_nor_children_but_a_measured_command(
    library: str,
) -> None:
    name = OF_LIBRARIES[library]
    environment = {name: "x", **dict.fromkeys(KEPT, "y")}
    assert name not in clean_environment(environment)
    set_settings_aside(environment, [])
    assert set(environment) == set(KEPT) <= set(clean_environment(environment))
    assert restore_settings(environment)[name] == "x"


def test_of_pythons_own_variables_children_get_what_says_where_it_is_and_how_text_is_coded() -> (
    None
):
    given = dict.fromkeys(
        ("PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONDEVMODE"), "/x"
    )
    kept = {"PYTHONHOME": "/usr", "PYTHONUTF8": "1", "PYTHONUSERBASE": "/u"}
    children = clean_environment(given | kept)
    assert {name for name in children if name.startswith("PYTHON")} == set(kept)
    assert python_path(children) == python_path(clean_environment(children)) == ["/x"]


@pytest.mark.parametrize(
    ("given", "found"),
    [("", []), (":", []), (":/a", ["/a"]), ("b:/a:.", ["/a"]), ("/a::/c", ["/a", "/c"])],
)
def test_of_pythonpath_whole_paths_alone_are_searched_and_last(
    given: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert python_path({"PYTHONPATH": given}) == found
    own = ["/script", "/lib/python", "/lib/site-packages"]
    here = [str(tmp_path / word) for word in given.split(":")] if given else []
    path = [own[0], *here, *own[1:]]
    set_settings_aside({"PYTHONPATH": given}, path)
    assert path == [*own, *found]


def test_warnings_of_libraries_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(sys, "warnoptions", ["error"])
        set_settings_aside({}, [])
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


@pytest.mark.parametrize("name", ["OMP_PROC_BIND", "MKL_NUM_THREADS", "XLA_FLAGS", "TF_XLA_FLAGS"])
def test_what_changes_how_the_trainer_computes_is_known(name: str) -> None:
    assert changes_computing(name)
    assert not changes_computing("TF_VAR_password")


def test_git_is_asked_of_this_checkout_whatever_the_user_has_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def describe() -> list[object]:
        facts = provenance(())
        return [facts["git_commit"], facts["git_dirty"]]

    expected = describe()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitconfig").write_text("[core]\nbare = true\n[status]\nshortBranch = broken\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "one")
    assert describe() == expected


def ask_child(monkeypatch: pytest.MonkeyPatch, code: str, folder: Path) -> str:
    """What a child answers that runs a module ``asked``, found through PYTHONPATH."""
    packages = write_shadows(folder / "packages")
    (packages / "asked.py").write_text(
        f"import os, sys\n{code}\nos.write(int(sys.argv[-1]), repr(answer).encode())\n"
    )
    monkeypatch.setenv("PYTHONPATH", f":{packages}")
    with PythonChild("asked", "word") as child:
        answer = child.answers.read().decode()
        child.answers.close()
    assert child.returncode == 0
    return answer


def test_a_child_imports_python_first_then_what_is_installed_then_pythonpath_and_never_from_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(write_shadows(tmp_path / "here"))
    code = (
        "import json, queue, random, calendar, platform, numpy, wbcbench\n"
        "answer = [wbcbench.__file__, sys.argv[1:-1], os.environ.get('PYTHONPATH'), sys.path]"
    )
    where, words, variable, path = eval(ask_child(monkeypatch, code, tmp_path))
    assert Path(where) == Path(sys.modules["wbcbench"].__file__ or "")
    assert (words, variable) == (["word"], None)
    assert path[-2] == str(tmp_path / "packages")
    assert not {"", str(tmp_path / "here")} & set(path)


def test_what_is_printed_as_python_starts_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", noisy_python(tmp_path))
    assert ask_child(monkeypatch, "print('more noise')\nanswer = 7", tmp_path) == "7"
    with Meter("simulated", save=False) as meter:
        pass
    assert meter.energy.energy_j is not None
    assert capfd.readouterr().out == ""
    assert NOISE not in os.environ


def test_a_program_without_standard_streams_can_ask_a_child(tmp_path: Path) -> None:
    program = (
        "import os, sys\nos.closerange(0, 3)\nfrom wbcbench import Meter\n"
        "with Meter('simulated', save=False) as m: pass\n"
        f"open({str(tmp_path / 'out')!r}, 'w').write(m.energy.status)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == 0
    assert (tmp_path / "out").read_text() == "simulated"

"""A bundle that can be tampered with and put back, as somebody would who knows the program.

``rehash`` makes manifests, sizes and digests fit again, as everybody can; ``retable``,
``rederive`` and ``reaccount`` make table, run and record fit, as somebody with this program can.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamperings.made_again import UnfitError, remake
from wbcbench import table
from wbcbench.bundle import layout
from wbcbench.bundle.crate import format_phases
from wbcbench.core.files import sha256_of
from wbcbench.core.record import from_json
from wbcbench.core.run_folder import RunDir, study_runs
from wbcbench.table import derive


class Bag:
    """A bundle's folder whose changes are undone."""

    def __init__(self, root: Path, spare: Path) -> None:
        self.root, self._spare = root, spare
        self.data = root / layout.PAYLOAD
        document = json.loads((self.data / layout.SUBMISSION).read_bytes())
        self.study = str(document["study"])
        self.results = self.data / layout.study_dir(self.study)
        self.report = self.data / layout.report_dir(self.study)
        self._touched = False
        shutil.copytree(root, spare)

    def restore(self) -> None:
        """Put every file back as it was."""
        if not self._touched:
            return
        kept = {path.relative_to(self._spare) for path in self._spare.rglob("*")}
        for path in sorted(self.root.rglob("*"), reverse=True):
            if path.relative_to(self.root) not in kept:
                path.rmdir() if path.is_dir() else path.unlink()
        for name in sorted(kept):
            old, new = self._spare / name, self.root / name
            if old.is_dir():
                new.mkdir(exist_ok=True)
            elif not new.exists() or new.read_bytes() != old.read_bytes():
                new.write_bytes(old.read_bytes())
        self._touched = False

    # --- looking --------------------------------------------------------------------------------

    def runs(self, *, done: bool = True) -> list[RunDir]:
        """The study's runs, by name."""
        found = study_runs(self.results.parent, self.study)
        return [r for r in found if not done or self.json(r.record_path)["status"] == "done"]

    def run(self, rng: random.Random) -> RunDir:
        """Any done run."""
        return rng.choice(self.runs())

    def two(self, rng: random.Random) -> tuple[RunDir, RunDir]:
        """Any two."""
        one, other = rng.sample(self.runs(), 2)
        return one, other

    def json(self, path: Path) -> Any:
        return json.loads(path.read_bytes())

    # --- changing -------------------------------------------------------------------------------

    def write(self, path: Path, data: bytes | str) -> None:
        """Write a file; something must change."""
        data = data.encode() if isinstance(data, str) else data
        if path.exists() and path.read_bytes() == data:
            raise UnfitError(f"{path} would stay as it is")
        self._touched = True
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def edit_json(self, path: Path, change: Callable[[Any], None]) -> None:
        """Change a JSON file in the way the program writes it."""
        value = self.json(path)
        change(value)
        self.write(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def edit_record(self, run: RunDir, change: Callable[[Any], None]) -> None:
        self.edit_json(run.record_path, change)

    def edit_text(self, path: Path, old: str, new: str) -> None:
        """Change the first place where a text stands."""
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise UnfitError(f"{path.name} has no {old!r}")
        self.write(path, text.replace(old, new, 1))

    def edit_lines(self, path: Path, change: Callable[[list[str]], list[str]]) -> None:
        lines = path.read_text(encoding="utf-8").split("\n")
        self.write(path, "\n".join(change(lines)))

    def edit_messages(self, run: RunDir, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the trainer's messages, one by one."""
        lines = run.marks_path.read_text(encoding="utf-8").splitlines()
        messages = [json.loads(line) for line in lines]
        for message in messages:
            change(message)
        self.write(run.marks_path, "".join(json.dumps(each) + "\n" for each in messages))

    def remove(self, path: Path) -> None:
        self._touched = True
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def move(self, path: Path, to: Path) -> None:
        self._touched = True
        path.rename(to)

    def copy(self, path: Path, to: Path) -> None:
        self._touched = True
        shutil.copytree(path, to)

    def retable(self) -> None:
        """Make the results table fit the records."""
        table.write_table(self.results)

    def rederive(self, run: RunDir) -> None:
        """Make everything of one run fit its record again: epochs, phases, row."""
        record = from_json(run.record_path.read_bytes(), "record")
        if record.epochs:
            run.epochs_path.write_bytes(derive.format_epochs_csv(record))
        (run.path / layout.PHASES).write_bytes(format_phases(record))
        self.retable()

    def reaccount(self, run: RunDir) -> None:
        """Make the record fit the folder again, and everything of the run fit the record."""
        remake(run)
        self.rederive(run)

    def rehash(self) -> None:
        """Make digests, sizes, parts of the crate and manifests fit what is there."""
        self._fit_document()
        self._fit_crate()
        files = [path for path in sorted(self.data.rglob("*")) if path.is_file()]
        pairs = [(path.relative_to(self.root).as_posix(), sha256_of(path)) for path in files]
        (self.root / layout.MANIFEST).write_text(layout.format_manifest(pairs))
        octets = sum(path.stat().st_size for path in files)
        info = (self.root / layout.BAG_INFO).read_text().splitlines()
        kept = [line for line in info if not line.startswith("Payload-Oxum")]
        text = "\n".join(sorted([*kept, f"Payload-Oxum: {octets}.{len(files)}"])) + "\n"
        (self.root / layout.BAG_INFO).write_text(text)
        tags = [(name, sha256_of(self.root / name)) for name in layout.TAG_FILES]
        (self.root / layout.TAG_MANIFEST).write_text(layout.format_manifest(tags))

    def refit(self) -> None:
        """The same, and the report's own list of its files."""
        path = self.report / "files.json"
        files = {n: p for n, p in layout.list_files(self.report).items() if p != path}
        digests = {name: sha256_of(place) for name, place in files.items()}
        if self.json(path)["files"] != digests:
            self.edit_json(path, lambda value: value.update(files=digests))
        self.rehash()

    def _fit_document(self) -> None:
        path = self.data / layout.SUBMISSION
        document = self.json(path) if path.exists() else {}
        files = layout.list_files(self.report)
        new = {
            "results_sha256": sha256_of(self.results / layout.RUNS_TABLE),
            "report_sha256": {name: sha256_of(place) for name, place in files.items()},
        }
        if document | new != document:
            self.edit_json(path, lambda value: value.update(new))

    def _fit_crate(self) -> None:
        path = self.data / layout.CRATE
        crate = self.json(path)
        files = {n: p for n, p in layout.list_files(self.data).items() if n != layout.CRATE}
        old = {e["@id"]: e for e in crate["@graph"] if e["@type"] == "File"}
        if {name: str(p.stat().st_size) for name, p in files.items()} == {
            name: entity["contentSize"] for name, entity in old.items()
        }:
            return
        forms = {Path(name).suffix: entity["encodingFormat"] for name, entity in old.items()}
        new = {}
        for name, place in files.items():
            form = forms.get(place.suffix, "application/octet-stream")
            added = {"@id": name, "@type": "File", "encodingFormat": form}
            new[name] = old.get(name, added) | {"contentSize": str(place.stat().st_size)}
        rest = [entity for entity in crate["@graph"] if entity["@id"] not in old]
        for entity in rest:
            for key in ("hasPart", "object", "result"):
                if isinstance(parts := entity.get(key), list):
                    parts = [part for part in parts if part["@id"] not in old.keys() - new.keys()]
                    entity[key] = parts
            if entity["@id"] == "./":
                entity["hasPart"] += [{"@id": name} for name in sorted(new.keys() - old.keys())]
        crate["@graph"] = sorted([*rest, *new.values()], key=lambda entity: entity["@id"])
        self.write(path, json.dumps(crate, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

"""A study whose evidence is edited, and from which this program makes everything else again.

Evidence is what a run leaves behind before it is accounted for: what was asked, how it began, its
channels and traces, the logs of board and processor, the trainer's messages, its predictions, and
the plan. A forger with the program makes records, tables, comparison, report, documents and
manifests of it again, so that everything that follows from something fits what it follows from.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter

from wbcbench.bundle.document import Author
from wbcbench.bundle.write import Order, submit
from wbcbench.core import record as records
from wbcbench.core.record import Circumstances, RunRecord
from wbcbench.core.run_folder import (
    ATTACHED_TRACE,
    BEGAN,
    CHANNELS,
    MARKS,
    PREDICTIONS,
    RECORD,
    SPEC,
    TELEMETRY,
    TRACES,
    RunDir,
    study_runs,
)
from wbcbench.core.spec import RunSpec
from wbcbench.core.study_folder import PLAN, pilot_study
from wbcbench.core.trace_file import parquet_from_polls, read_parquet_polls
from wbcbench.core.window import unix_s
from wbcbench.data.dataset import CLASSES
from wbcbench.energy.account import account
from wbcbench.energy.attach import attach_wall_meter
from wbcbench.study import plan
from wbcbench.table import derive
from wbcbench.train.scores import score

FORMATS = ("html", "md", "csv")
"""Typesetting the paper takes longer than everything else together."""
OUTPUTS = ("p_unused", *(f"p_{name.lower()}" for name in CLASSES))

AT_END = ("sampling", "recorder_cpu_s", "trainer_cpu_s", "trainer_rss_peak_bytes")
"""What is known of a run when it has ended: in its record, and in its last message."""

Floats = NDArray[np.float64]
Messages = list[dict[str, Any]]


class UnfitError(Exception):
    """A study, or a bundle, has nothing that could be tampered with so."""


def submit_study(results: Path, study: str, target: Path) -> Path:
    """The bundle of a study, by one author and under one licence, forged or not."""
    authors = (Author("Alice Doe"),)
    return submit(Order(results, study, authors, "MIT", out=target, formats=FORMATS)).path


def remake(run: RunDir) -> None:
    """Make the record of a run fit its folder again, as the recorder makes it."""
    old = records.from_json(run.record_path.read_bytes(), "record")
    began = json.loads((run.path / BEGAN).read_bytes())
    known = {name: getattr(old, name) for name in AT_END} | read_end(run)
    circumstances = TypeAdapter(Circumstances).validate_python(began | known)
    new = account(run, circumstances, old.status, old.error)
    new = replace(new, ended_utc=old.ended_utc)
    run.record_path.write_bytes(records.to_json(new))
    _attach_again(run, new)
    run.epochs_path.unlink(missing_ok=True)
    if new.epochs:
        run.epochs_path.write_bytes(derive.format_epochs_csv(new))


def read_end(run: RunDir) -> dict[str, Any]:
    """What the recorder wrote as a run ended; empty where it wrote nothing."""
    messages = [json.loads(line) for line in run.marks_path.read_text().splitlines()]
    return next((m["recorder"] for m in messages if "recorder" in m), {})


def _attach_again(run: RunDir, record: RunRecord) -> None:
    """Give the wall meter's log to the run again, as it lies beside it."""
    attachment = run.read_attachment()
    if attachment is None:
        return
    clock = record.provenance["clock_pair"]
    assert isinstance(clock, dict)
    shift_s = float(clock["utc_s"]) - float(clock["monotonic_s"])
    [(_, times, watts)] = read_traces(run.path / ATTACHED_TRACE)
    log = run.path / attachment.source
    lines = [f"{t_s + shift_s:.3f},{w:.3f}" for t_s, w in zip(times, watts, strict=True)]
    log.write_text("\n".join(["timestamp,power_w", *lines, ""]))
    for path in (run.attachment_path, run.path / ATTACHED_TRACE):
        path.unlink()
    new = replace(attach_wall_meter(run, log), attached_utc=attachment.attached_utc)
    run.attachment_path.write_bytes(records.attachment_to_json(new))
    log.unlink()


def read_traces(path: Path) -> list[tuple[str, Floats, Floats]]:
    """Every channel of a file of traces: name, times, values; a failed read is not a number."""
    polls = read_parquet_polls(path)
    return [(name, np.array(t_s, float), np.array(value, float)) for name, t_s, value in polls]


def write_traces(path: Path, traces: list[tuple[str, Floats, Floats]]) -> None:
    """Write a file of traces as the program does."""
    path.write_bytes(parquet_from_polls(traces))


def _later(utc: str, by_s: float) -> str:
    """A moment of the calendar, so much later."""
    moment = datetime.fromisoformat(utc) + timedelta(seconds=by_s)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _clock_s(record: Any) -> float:
    return float(record["provenance"]["clock_pair"]["monotonic_s"])


class Forgery:
    """The folder of a study in the hands of somebody who will submit it."""

    def __init__(self, results: Path, name: str) -> None:
        self.results, self.name = results, name
        self.folder = results / name
        self._edited: dict[str, RunDir] = {}

    def submit(self, target: Path) -> Path:
        """Account for every edited run again, and make the bundle."""
        self._chain()
        for run in self._edited.values():
            remake(run)
        return submit_study(self.results, self.name, target)

    def _chain(self) -> None:
        """Let every run name the one before it, where runs do so."""
        before: dict[str, str] = {}
        for run in self.runs(done=False):
            known = json.loads((run.path / BEGAN).read_bytes())["provenance"]
            name = before.get(known["host_id"])
            if "after_run" in known and known["after_run"] != name:
                self.edit_began(run, lambda b, name=name: b["provenance"].update(after_run=name))
            before[known["host_id"]] = run.run_id

    # --- looking --------------------------------------------------------------------------------

    def runs(self, *, done: bool = True, **fields: Any) -> list[RunDir]:
        """The runs whose spec has these fields, in the order in which they began."""
        found = [
            run
            for run in study_runs(self.results, self.name)
            if not done or self.record(run)["status"] == "done"
            if all(getattr(run.read_spec(), k) == v for k, v in fields.items())
        ]
        return sorted(found, key=lambda run: self.record(run)["started_utc"])

    def all_runs(self) -> list[RunDir]:
        """Every run, and those that were made only to know the cost."""
        return self.runs(done=False) + study_runs(self.results, pilot_study(self.name))

    def run(self, rng: random.Random) -> RunDir:
        """Any done run."""
        return rng.choice(self.runs())

    def record(self, run: RunDir) -> Any:
        return json.loads(run.record_path.read_bytes())

    def variant(self, rng: random.Random) -> str:
        """Any variant that was trained."""
        return rng.choice(sorted({run.read_spec().variant for run in self.runs()}))

    def last_block(self) -> int:
        return max(run.read_spec().block for run in self.runs(done=False))

    # --- changing a run -------------------------------------------------------------------------

    def _edit(self, path: Path, run: RunDir, data: bytes) -> None:
        if path.read_bytes() == data:
            raise UnfitError(f"{path} would stay as it is")
        path.write_bytes(data)
        self._edited[run.run_id] = run

    def edit_json(self, run: RunDir, name: str, change: Callable[[Any], None]) -> None:
        path = run.path / name
        value = json.loads(path.read_bytes())
        change(value)
        data = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        self._edit(path, run, data.encode())

    def edit_began(self, run: RunDir, change: Callable[[Any], Any]) -> None:
        """Change what was known as a run began: provenance, meters, what is absent."""
        self.edit_json(run, BEGAN, change)
        if "meters" in read_end(run):
            meters = json.loads((run.path / BEGAN).read_bytes())["meters"]
            self.edit_end(run, lambda end: end.update(meters=meters))

    def edit_end(self, run: RunDir, change: Callable[[Any], Any]) -> None:
        """Change what the recorder knew as a run ended: sampling, processor time, memory."""
        record = self.record(run)
        change(record)
        run.record_path.write_text(json.dumps(record))
        self._edited[run.run_id] = run

        def edit(messages: Messages) -> None:
            for message in messages:
                if "recorder" in message:
                    change(message["recorder"])

        lines = [json.loads(line) for line in run.marks_path.read_text().splitlines()]
        edit(lines)
        run.marks_path.write_text("".join(json.dumps(message) + "\n" for message in lines))

    def edit_channels(self, run: RunDir, change: Callable[[Any], None]) -> None:
        self.edit_json(run, CHANNELS, lambda channels: [change(channel) for channel in channels])

    def edit_record(self, run: RunDir, change: Callable[[Any], None]) -> None:
        """Change what only the record has: how a run ended, and when."""
        self.edit_json(run, RECORD, change)

    def edit_messages(self, run: RunDir, change: Callable[[Messages], Messages | None]) -> None:
        """Change what the trainer said, in place or by another list."""
        messages = [json.loads(line) for line in run.marks_path.read_text().splitlines()]
        new = change(messages)
        lines = [json.dumps(message) + "\n" for message in (messages if new is None else new)]
        self._edit(run.marks_path, run, "".join(lines).encode())

    def edit_each(self, run: RunDir, kind: str, change: Callable[[Any], None]) -> None:
        """Change every message of one kind by what it holds."""

        def edit(messages: Messages) -> None:
            for message in messages:
                if kind in message:
                    change(message[kind])

        self.edit_messages(run, edit)

    def edit_traces(
        self, run: RunDir, change: Callable[[str, Floats, Floats], tuple[Floats, Floats] | None]
    ) -> None:
        """Change every channel's times and values; ``None`` drops the channel."""
        path = run.path / TRACES
        before = read_traces(path)
        polls = [(name, change(name, t_s.copy(), value.copy())) for name, t_s, value in before]
        new = [(name, *each) for name, each in polls if each is not None]
        old = path.read_bytes()
        write_traces(path, new)
        if path.read_bytes() == old:
            raise UnfitError(f"{path} would stay as it is")
        self._edited[run.run_id] = run
        times = {name: t_s for name, t_s, _ in before}
        if not all(np.array_equal(t_s, times[name]) for name, t_s, _ in new):
            self._fit_sampling(run)

    def _fit_sampling(self, run: RunDir) -> None:
        """Let every meter have been polled when its traces say it was."""
        times = {name: t_s for name, t_s, _ in read_traces(run.path / TRACES)}

        def change(record: Any) -> None:
            for each in record.get("sampling", ()):
                own = [t_s for name, t_s in times.items() if name.startswith(each["meter"] + "/")]
                if own:
                    gaps_s = np.diff(own[0])
                    each |= {"samples": len(own[0]), "period_s": float(gaps_s.mean())}
                    each["max_gap_s"] = float(gaps_s.max())

        self.edit_end(run, change)

    def edit_attached(
        self, run: RunDir, change: Callable[[Floats, Floats], tuple[Floats, Floats]]
    ) -> None:
        """Change the log of the wall meter."""
        path = run.path / ATTACHED_TRACE
        [(name, t_s, value)] = read_traces(path)
        write_traces(path, [(name, *change(t_s, value))])
        self._edited[run.run_id] = run

    def edit_log(self, run: RunDir, change: Callable[[dict[str, str]], None], *, cpu: bool) -> None:
        """Change every line of a board's log, or of the processor's; empty cells are unknown."""
        for path in sorted((run.path / TELEMETRY).glob("*.csv")):
            if (path.name == "cpu.csv") is cpu:
                rows = list(csv.DictReader(io.StringIO(path.read_text())))
                for row in rows:
                    change(row)
                out = io.StringIO()
                writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                self._edit(path, run, out.getvalue().encode())

    def edit_predictions(
        self, run: RunDir, change: Callable[[dict[str, Any]], None], *, rescore: bool = True
    ) -> None:
        """Change the columns of the predictions; said classes and scores are made to fit."""
        held = pq.read_table(run.predictions_path)
        columns: dict[str, Any] = {k: np.array(v) for k, v in held.to_pydict().items()}
        columns["p"] = np.column_stack([columns.pop(name) for name in OUTPUTS])
        change(columns)
        p = columns.pop("p").astype(np.float32)
        names = np.array(["UNUSED", *CLASSES])
        columns |= {"y_pred": names[p.argmax(axis=1)]}
        columns |= {name: p[:, i] for i, name in enumerate(OUTPUTS)}
        table = pa.table(
            {n: pa.array(columns[n].tolist(), held.schema.field(n).type) for n in held.column_names}
        )
        out = io.BytesIO()
        pq.write_table(table, out, compression="zstd", version="2.6")
        self._edit(run.predictions_path, run, out.getvalue())
        if rescore:
            self.rescore(run)

    def rescore(self, run: RunDir) -> None:
        """Make the trainer's scores fit the predictions."""
        held = pq.read_table(run.predictions_path).to_pydict()
        p = np.column_stack([held[name] for name in OUTPUTS]).astype(np.float32)
        labels = np.array([CLASSES.index(name) for name in held["y_true"]])
        originals = np.array([-1 if o is None else o for o in held["original_id"]])
        leaks = np.array(held["also_in_train"])
        chosen = {"test": np.ones(len(labels), bool), "test_leakage_free": ~leaks}

        def change(scores: dict[str, Any]) -> None:
            which = chosen[scores["name"]]
            made = score(p[which], labels[which], originals[which], CLASSES)
            scores |= asdict(made)

        self.edit_each(run, "scores", change)

    def retime(self, run: RunDir, to: Callable[[Floats], Floats]) -> None:
        """Lay everything that has a time elsewhere on the run's clock, and its end with it."""

        def one(t_s: float) -> float:
            return float(to(np.array([t_s]))[0])

        def edit(messages: Messages) -> None:
            for message in messages:
                if "t_s" in message:
                    message["t_s"] = one(message["t_s"])
                for name in ("start_s", "end_s", "evaluate_end_s"):
                    if "epoch" in message:
                        message["epoch"][name] = one(message["epoch"][name])

        end_s = self._end_s(run)
        self.edit_messages(run, edit)
        self.edit_traces(run, lambda _, t_s, value: (to(t_s).round(6), value))
        for cpu in (True, False):
            self.edit_log(run, lambda row: row.update(t_s=repr(one(float(row["t_s"])))), cpu=cpu)
        if run.has_attachment:
            self.edit_attached(run, lambda t_s, value: (to(t_s), value))
        self.edit_record(
            run, lambda r: r.update(ended_utc=_later(r["ended_utc"], one(end_s) - end_s))
        )

    def _end_s(self, run: RunDir) -> float:
        return float(max(window["end_s"] for window in self.record(run)["windows"]))

    def drop_lines(self, run: RunDir, dropped: Callable[[float], bool]) -> None:
        """Take lines out of the logs of board and processor by their time."""
        for path in sorted((run.path / TELEMETRY).glob("*.csv")):
            first, *lines = path.read_text().splitlines()
            kept = [line for line in lines if not dropped(float(line.split(",")[0]))]
            self._edit(path, run, "\n".join([first, *kept, ""]).encode())

    def take_evidence(self, run: RunDir, source: RunDir) -> None:
        """Let a run have gone as another did, at its own time."""
        from shutil import copytree, rmtree

        if run.path == source.path:
            return
        for name in (MARKS, TRACES, PREDICTIONS, CHANNELS):
            (run.path / name).write_bytes((source.path / name).read_bytes())
        rmtree(run.path / TELEMETRY)
        copytree(source.path / TELEMETRY, run.path / TELEMETRY)
        own, other = self.record(run), self.record(source)
        length_s = unix_s(other["ended_utc"]) - unix_s(other["started_utc"])
        as_it_ran = ("status", "error", "sampling", "trainer_cpu_s", "trainer_rss_peak_bytes")
        changes = {name: other[name] for name in (*as_it_ran, "windows", "recorder_cpu_s")}
        changes["ended_utc"] = _later(own["started_utc"], length_s)
        self.edit_record(run, lambda record: record.update(changes))
        by_s = _clock_s(own) - _clock_s(other)
        if by_s:
            self.retime(run, lambda t_s: t_s + by_s)
        self.edit_record(run, lambda record: record.update(ended_utc=changes["ended_utc"]))

    # --- changing the study ---------------------------------------------------------------------

    def respec(self, run: RunDir, **changes: Any) -> RunDir:
        """Ask for something else in a run, under the name that this makes."""
        spec = replace(run.read_spec(), **changes)
        self.edit_json(run, SPEC, lambda value: value.update(changes))
        del self._edited[run.run_id]
        moved = RunDir(self.folder / spec.run_id)
        if moved.path != run.path:
            run.path.rename(moved.path)
        self._edited[moved.run_id] = moved
        return moved

    def copy_run(self, source: RunDir, later_s: float, **changes: Any) -> RunDir:
        """The run once more, so much later, as one for which something else was asked."""
        from shutil import copytree

        spec = replace(source.read_spec(), **changes)
        run = RunDir(self.folder / spec.run_id)
        copytree(source.path, run.path)
        self.edit_json(run, SPEC, lambda value: value.update(changes))

        def shift(value: Any) -> None:
            value["started_utc"] = _later(value["started_utc"], later_s)
            for name in ("utc_s", "monotonic_s"):
                value["provenance"]["clock_pair"][name] += later_s

        self.retime(run, lambda t_s: t_s + later_s)
        self.edit_began(run, shift)
        self.edit_record(run, shift)
        return run

    def drop(self, runs: list[RunDir]) -> None:
        """Remove runs as if they had never been."""
        from shutil import rmtree

        for run in runs:
            self._edited.pop(run.run_id, None)
            rmtree(run.path)

    @property
    def plan(self) -> plan.Plan:
        return plan.from_json(self.folder / PLAN)

    @property
    def stored_utc(self) -> str:
        """Since when the plan lies with its study."""
        return str(json.loads((self.folder / PLAN).read_bytes())["stored_utc"])

    def replan(self, change: Callable[[plan.Plan], plan.Plan], stored_utc: str = "") -> None:
        """Change the plan, its digest, and the digest that every run began with."""
        path = self.folder / PLAN
        new = change(self.plan)
        path.write_bytes(plan.to_json(new, stored_utc or self.stored_utc))
        for run in self.runs(done=False):
            if self._known_plan(run) != new.sha256:
                self.edit_began(run, lambda b: b["provenance"].update(plan_sha256=new.sha256))

    def _known_plan(self, run: RunDir) -> Any:
        return json.loads((run.path / BEGAN).read_bytes())["provenance"].get("plan_sha256")

    def keep_planned(self, wanted: Callable[[RunSpec], bool]) -> None:
        """Drop the other runs from study and plan, and number what is left as if it were all."""
        self.drop([run for run in self.runs(done=False) if not wanted(run.read_spec())])
        kept = [spec for spec in self.plan.runs if wanted(spec)]
        places: dict[int, int] = {}
        numbered = []
        for spec in kept:
            places[spec.block] = places.get(spec.block, 0) + 1
            place = {"order_in_block": places[spec.block], "order_global": len(numbered) + 1}
            numbered.append(replace(spec, **place))
        blocks = min(self.plan.blocks, len(places))
        self.replan(lambda old: replace(old, runs=tuple(numbered), blocks=blocks))
        for run in self.runs(done=False):
            spec = run.read_spec()
            [new] = [p for p in numbered if (p.block, p.variant) == (spec.block, spec.variant)]
            place = {"order_in_block": new.order_in_block, "order_global": new.order_global}
            if place != {name: getattr(spec, name) for name in place}:
                self.respec(run, **place)

    def respec_all(self, wanted: Callable[[RunSpec], bool], **changes: Any) -> None:
        """Ask for something else in runs and in their plan."""
        self.replan(
            lambda old: replace(
                old, runs=tuple(replace(s, **changes) if wanted(s) else s for s in old.runs)
            )
        )
        for run in self.runs(done=False):
            if wanted(run.read_spec()):
                self.respec(run, **changes)

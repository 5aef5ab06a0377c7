"""One known load as the logs of several meters, over the time of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEFORE_S, AFTER_S = 20, 40


def watts(number: int) -> float:
    """The load at a reading: two levels that change every seven seconds."""
    return 812.5 if number // 7 % 2 else 1224.0


def write_logs(folder: Path, record: dict[str, Any]) -> dict[str, float]:
    """Write the load as read each second around a run; returns each log's mean watts."""
    pair = record["provenance"]["clock_pair"]
    shift_s = pair["utc_s"] - pair["monotonic_s"]
    start_s = round(record["windows"][0]["start_s"] + shift_s) - BEFORE_S
    end_s = round(record["windows"][-1]["end_s"] + shift_s) + AFTER_S
    readings = [(t, watts(t - start_s)) for t in range(start_s, end_s)]
    moments = [(datetime.fromtimestamp(t, UTC), w) for t, w in readings]
    logs = {
        "plain.csv": ["time,power_w", *(f"{m:%Y-%m-%dT%H:%M:%SZ},{w}" for m, w in moments)],
        "comma.csv": ["time;power_w", *(f"{t},000;{w:.1f}".replace(".", ",") for t, w in readings)],
        "two.tsv": [
            "Date\tTime (UTC)\tPower (kW)",
            *(f"{m:%Y-%m-%d}\t{m:%H:%M:%S}\t{w / 1000:.5f}" for m, w in moments),
        ],
        "ptd.txt": [
            f"Time,{m:%m-%d-%Y %H:%M:%S}.000,Watts,{w:.6f},Volts,230.100000,Amps,3.500000,PF,0.98"
            ",Mark,run"
            for m, w in moments
        ],
        "plug.jsonl": [
            json.dumps({"Time": f"{m:%Y-%m-%dT%H:%M:%S}", "ENERGY": {"Power": w, "Voltage": 230}})
            for m, w in moments
        ],
        "counter.csv": ["epoch_ms,energy_j", *_count(readings)],
    }
    for name, lines in logs.items():
        (folder / name).write_text("\n".join([*lines, ""]))
    mean_w = sum(w for _, w in readings) / len(readings)
    return dict.fromkeys(logs, mean_w)


def _count(readings: list[tuple[int, float]]) -> list[str]:
    total, lines = 0.0, []
    for t, w in readings:
        lines.append(f"{t * 1000},{total}")
        total += w
    return lines

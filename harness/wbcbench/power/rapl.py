"""CPU packages and memory by the kernel's powercap tree (RAPL of Intel and AMD processors)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.files import read_if_any
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.units import j_from_uj, w_from_uw
from wbcbench.power.meter import EnergyMeter, MeterRequest

# `intel-rapl:0` is a zone and `intel-rapl:0:1` a part of it. AMD processors show the same names:
# the kernel's driver serves both. `intel-rapl-mmio` is a second door to the same package.
_ZONE = re.compile(r"(?P<driver>[a-z-]+)(?P<place>(:[0-9a-f]+)+)")
_DRIVERS = ("intel-rapl", "amd-rapl", "intel-rapl-mmio")  # the first that has a zone is read

_DOMAINS = {"package": Domain.CPU, "dram": Domain.DRAM, "psys": Domain.SYSTEM}
_INSIDE_PACKAGE = ("core", "uncore")

_UPDATE_S = 0.001  # Intel SDM vol. 3B, 15.10.1: counters are renewed about once a millisecond


@dataclass(frozen=True, slots=True)
class Zone:
    """One energy counter of the tree.

    Attributes:
        part: ``package``, ``dram``, ``psys``, ``core``, ``uncore`` or what the kernel calls it.
        place: Number of the socket, with the die where there are several: ``0``, ``0-die-1``.
        driver: Which of the kernel's doors it is.
        path: Its folder.
    """

    part: str
    place: str
    driver: str
    path: Path

    @property
    def label(self) -> str:
        """``package-0``, ``dram-1``, ``psys-0``."""
        return f"{self.part}-{self.place}"

    @property
    def counter(self) -> Path:
        """The file with the microjoules."""
        return self.path / "energy_uj"


def open_meters(request: MeterRequest) -> list[EnergyMeter]:
    """CPU packages and memory by the kernel's powercap tree (RAPL of Intel and AMD processors).

    One meter for all sockets; what may not be read is named in its description.

    Raises:
        CannotMeasureError: No such tree, no counter in it, or none that this user may read; the
            message says the exact fix and its undo.
    """
    zones = find_zones(request.powercap_root)
    counted = [zone for zone in zones if zone.part in _DOMAINS]
    if not counted:
        raise CannotMeasureError(_no_tree(request.powercap_root))
    barred = [zone for zone in counted if not _is_readable(zone.counter)]
    if len(barred) == len(counted):
        raise CannotMeasureError(
            f"RAPL's counters under {request.powercap_root} cannot be read by this user, so CPU "
            f"energy is not measured. {_permission_fix(zone.counter for zone in barred)}"
        )
    return [RaplMeter(zones, barred)]


def _permission_fix(files: Iterable[Path]) -> str:
    """The commands that let everybody read the counters, and take it back."""
    names = " ".join(str(path) for path in files)
    return (
        f"Allow it until the next reboot with `sudo chmod a+r {names}`; undo it with "
        f"`sudo chmod 400 {names}`. (The kernel hides them because fine-grained power readings "
        "can leak secrets of other users' programs: do it on a machine you trust.)"
    )


def find_zones(root: Path) -> list[Zone]:
    """Every counter below ``root``, each once, sockets in order.

    The tree shows a zone several times: as a link beside its parent and as a folder in it, and a
    package again under another driver. Counting two of them would double its joules.
    """
    found: dict[tuple[str, str], Zone] = {}
    for zone in sorted(_zones(root), key=lambda z: (_DRIVERS.index(z.driver), z.path.name)):
        found.setdefault((zone.part, zone.place), zone)
    return sorted(found.values(), key=lambda zone: (zone.place, zone.part != "package", zone.part))


def _zones(root: Path) -> Iterator[Zone]:
    seen: set[Path] = set()
    for counter in (*root.glob("*/energy_uj"), *root.glob("*/*/energy_uj")):
        path = counter.parent.resolve()
        match = _ZONE.fullmatch(path.name)
        if path in seen or match is None or match["driver"] not in _DRIVERS:
            continue
        seen.add(path)
        zone = _zone(path, match["driver"], match["place"].strip(":").split(":"))
        if zone is not None:
            yield zone


def _zone(path: Path, driver: str, numbers: list[str]) -> Zone | None:
    """A zone by its own name and, for a part of a package, by its package's."""
    name = read_if_any(path / "name")
    if name is None:
        return None
    part, _, place = name.partition("-")
    if len(numbers) > 1 and not place:
        package = read_if_any(path.parent / f"{driver}:{numbers[0]}" / "name") or read_if_any(
            path.parent / "name"
        )
        place = (package or "").partition("-")[2]
    # The platform is one, whatever number its zone happens to have.
    return Zone(part, "0" if part == "psys" else place or numbers[0], driver, path)


class RaplMeter(EnergyMeter):
    """All counters of the machine that this user may read, held open."""

    name = "rapl"

    def __init__(self, zones: Sequence[Zone], barred: Sequence[Zone] = ()) -> None:
        """Read the packages, memories and platform among ``zones`` that are not ``barred``."""
        self._zones = [z for z in zones if z.part in _DOMAINS and z not in barred]
        self._barred = list(barred)
        self._inside = [zone for zone in zones if zone.part in _INSIDE_PACKAGE]
        self._files: list[int] = []
        self.channels = tuple(_channel(zone) for zone in self._zones)

    def __enter__(self) -> Self:
        """Open the files; raises ``CannotMeasureError`` when one may not be read any more."""
        try:
            for zone in self._zones:
                self._files.append(os.open(zone.counter, os.O_RDONLY))
        except OSError as error:
            self._close()
            raise CannotMeasureError(
                f"RAPL's counter {error.filename} cannot be opened: {error.strerror}. "
                f"{_permission_fix([Path(error.filename)])}"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self._close()

    def _close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def read(self) -> Sequence[float | None]:
        """Joules of each counter since it last wrapped; ``None`` where a file gives none."""
        if not self._files:
            return (None,) * len(self.channels)
        return tuple(_joules(file) for file in self._files)

    def describe(self) -> dict[str, JsonValue]:
        """Which files the channels are read from, and which were left out and why."""
        pairs = zip(self.channels, self._zones, strict=True)
        return {
            "files": {channel.name: str(zone.counter) for channel, zone in pairs},
            "inside_package_not_added": [zone.label for zone in self._inside],
            "not_permitted": [str(zone.counter) for zone in self._barred],
            "fix": _permission_fix(z.counter for z in self._barred) if self._barred else None,
        }


def _channel(zone: Zone) -> Channel:
    range_uj = _number(zone.path / "max_energy_range_uj")
    return Channel(
        name=f"rapl/{zone.label}/counter",
        kind=Kind.COUNTER,
        origin=Origin.MEASURED,
        domain=_DOMAINS[zone.part],
        reading=zone.label,
        wrap_j=None if range_uj is None else j_from_uj(range_uj),
        update_s=_UPDATE_S,
        limit_w=_limit_w(zone.path),
    )


def _limit_w(path: Path) -> float | None:
    """The package's highest power limit: above it no step of the counter is plausible."""
    limits = [_number(each) for each in path.glob("constraint_*_power_limit_uw")]
    known = [limit for limit in limits if limit]
    return w_from_uw(max(known)) if known else None


def _joules(file: int) -> float | None:
    """A sysfs file gives its present value whenever it is read from its beginning."""
    try:
        text = os.pread(file, 32, 0)
    except OSError:
        return None
    return j_from_uj(int(text)) if text.strip().isdigit() else None


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.read_text().strip().isdigit())
    except OSError:
        return False


def _number(path: Path) -> int | None:
    text = read_if_any(path) or ""
    return int(text) if text.isdigit() else None


def _no_tree(root: Path) -> str:
    what = f"{root} shows no RAPL counter" if root.is_dir() else f"There is no {root}"
    return (
        f"{what}, so CPU energy cannot be measured here. Virtual machines and containers usually "
        "hide it: measure on the host, or on bare metal load the driver "
        "(`sudo modprobe intel_rapl_msr`, which serves AMD processors too)."
    )

"""CPU packages and memory by the kernel's powercap tree (RAPL of Intel and AMD processors)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.files import read_if_any
from wbcbench.core.record import AbsentMeter
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.units import j_from_uj, w_from_uw
from wbcbench.power.meter import EnergyMeter, MeterRequest

# `intel-rapl:0` is a zone and `intel-rapl:0:1` a part of it. AMD processors show the same names:
# the kernel's driver serves both. `intel-rapl-mmio` shows the same package a second time.
_ZONE = re.compile(r"(?P<driver>[a-z-]+)(?P<place>(:[0-9a-f]+)+)")
_DRIVERS = ("intel-rapl", "amd-rapl", "intel-rapl-mmio")  # the first that has a zone is read

DOMAINS = {"package": Domain.CPU, "dram": Domain.DRAM, "psys": Domain.SYSTEM}
_INSIDE_PACKAGE = ("core", "uncore")

_UPDATE_S = 0.001  # Intel SDM vol. 3B, 15.10.1: counters are renewed about once a millisecond


@dataclass(frozen=True, slots=True)
class Zone:
    """One energy counter of the tree.

    Attributes:
        part: ``package``, ``dram``, ``psys``, ``core``, ``uncore`` or the kernel's word.
        place: Number of the socket, with the die where there are several: ``0``, ``0-die-1``.
        driver: Which of the kernel's drivers shows it.
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
    root = request.powercap_root
    zones = find_zones(root)
    counted = [zone for zone in zones if zone.part in DOMAINS]
    if not counted:
        problem = f"{root} shows no RAPL counter" if root.is_dir() else f"There is no {root}"
        raise CannotMeasureError(
            f"{problem}, so CPU energy is not measured. Virtual machines and containers hide it: "
            "use the host, or on bare metal load the driver (Intel and AMD: `sudo modprobe "
            "intel_rapl_msr`)."
        )
    unreadable = [zone for zone in counted if _read_number(zone.counter) is None]
    fix = (
        f"Allow it until the next reboot with `sudo chmod a+r {root}/*/energy_uj` (power can leak "
        f"secrets) and undo it with `sudo chmod 400 {root}/*/energy_uj`."
    )
    if len(unreadable) == len(counted):
        raise CannotMeasureError(f"RAPL's counters are not readable by this user. {fix}")
    return [RaplMeter(zones, unreadable, fix)]


def find_zones(root: Path) -> list[Zone]:
    """Every counter below ``root``, each once, sockets in order.

    The tree shows a zone several times: as a link beside its parent and as a folder in it, and a
    package again under another driver. Counting two of them would double its joules.
    """
    counters = (*root.glob("*/energy_uj"), *root.glob("*/*/energy_uj"))
    paths = {counter.parent.resolve() for counter in counters}
    zones = filter(None, map(_read_zone, paths))
    first: dict[tuple[str, str], Zone] = {}
    for zone in sorted(zones, key=lambda zone: (_DRIVERS.index(zone.driver), zone.path.name)):
        first.setdefault((zone.part, zone.place), zone)
    return sorted(first.values(), key=lambda zone: (zone.place, zone.part != "package", zone.part))


def _read_zone(path: Path) -> Zone | None:
    """A zone by its own name and, for a part of a package, by its package's."""
    match, name = _ZONE.fullmatch(path.name), read_if_any(path / "name")
    if match is None or match["driver"] not in _DRIVERS or name is None:
        return None
    driver, numbers = match["driver"], match["place"].strip(":").split(":")
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

    def __init__(self, zones: Sequence[Zone], unreadable: Sequence[Zone], fix: str) -> None:
        """Read the packages, memories and platform among ``zones`` that are not ``unreadable``."""
        self._zones = [z for z in zones if z.part in DOMAINS and z not in unreadable]
        self._unreadable, self._fix = unreadable, fix
        self.unread = tuple(
            AbsentMeter(f"rapl/{zone.label}", f"This user may not read it. {fix}", domain)
            for zone in unreadable
            if (domain := DOMAINS[zone.part]) is not Domain.SYSTEM
        )
        self._inside = [zone for zone in zones if zone.part in _INSIDE_PACKAGE]
        self._files: list[int] = []
        self.channels = tuple(_make_channel(zone) for zone in self._zones)

    def __enter__(self) -> Self:
        """Open the files; raises ``CannotMeasureError`` when one may not be read any more."""
        try:
            for zone in self._zones:
                self._files.append(os.open(zone.counter, os.O_RDONLY))
        except OSError as error:
            self.__exit__()
            raise CannotMeasureError(
                f"RAPL's counter {error.filename} cannot be opened: {error.strerror}. "
                "`wbcbench doctor` shows the way out."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())

    def read(self) -> Sequence[float | None]:
        """Joules of each counter since it last wrapped; ``None`` where a file gives none."""
        if not self._files:
            return (None,) * len(self.channels)
        return tuple(_read_joules(file) for file in self._files)

    def describe(self) -> dict[str, JsonValue]:
        """Which files the channels are read from, and which were left out and why."""
        pairs = zip(self.channels, self._zones, strict=True)
        return {
            "files": {channel.name: str(zone.counter) for channel, zone in pairs},
            "inside_package_not_added": [zone.label for zone in self._inside],
            "not_permitted": [str(zone.counter) for zone in self._unreadable],
            "fix": self._fix if self._unreadable else None,
        }


def _make_channel(zone: Zone) -> Channel:
    range_uj = _read_number(zone.path / "max_energy_range_uj")
    return Channel(
        name=f"rapl/{zone.label}/counter",
        kind=Kind.COUNTER,
        origin=Origin.MEASURED,
        domain=DOMAINS[zone.part],
        reading=zone.label,
        wrap_j=None if range_uj is None else j_from_uj(range_uj),
        update_s=_UPDATE_S,
        limit_w=_read_limit_w(zone.path),
    )


def _read_limit_w(path: Path) -> float | None:
    """The package's highest power limit: above it no step of the counter is plausible."""
    limits_uw = map(_read_number, path.glob("constraint_*_power_limit_uw"))
    highest_uw = max((limit_uw for limit_uw in limits_uw if limit_uw), default=None)
    return None if highest_uw is None else w_from_uw(highest_uw)


def _read_joules(file: int) -> float | None:
    """A sysfs file gives its present value whenever it is read from its beginning."""
    try:
        text = os.pread(file, 32, 0)
    except OSError:
        return None
    return j_from_uj(int(text)) if text.strip().isdigit() else None


def _read_number(path: Path) -> int | None:
    text = read_if_any(path) or ""
    return int(text) if text.isdigit() else None

"""A powercap tree as the kernel shows it: zones as folders, linked again beside each other."""

from pathlib import Path


class PowercapTree:
    """``root`` is what ``/sys/class/powercap`` would be; the zones live in ``devices``."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "powercap"
        self._devices = folder / "devices"
        self.root.mkdir(parents=True)

    def zone(
        self, place: str, name: str, energy_uj: int = 0, range_uj: int = 262_143_328_850
    ) -> Path:
        """Add a zone such as ``intel-rapl:0`` or ``intel-rapl:0:1``; returns its folder."""
        driver, *numbers = place.split(":")
        folder = self._devices / driver / f"{driver}:{numbers[0]}"
        if len(numbers) > 1:
            folder = folder / place
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
        (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (self.root / place).symlink_to(folder)
        return folder

    def control_type(self, driver: str) -> None:
        """The folder of the driver itself, which is no zone."""
        (self._devices / driver).mkdir(parents=True, exist_ok=True)
        (self._devices / driver / "enabled").write_text("1\n")
        (self.root / driver).symlink_to(self._devices / driver)

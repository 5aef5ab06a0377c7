"""PCI bus ids, which NVML and CUDA spell differently; pure."""

from __future__ import annotations


def same_bus(left: str, right: str) -> bool:
    """Whether two spellings mean one PCI device: NVML writes eight digits of domain, CUDA four."""
    return bus_key(left) == bus_key(right)


def bus_key(pci_bus_id: str) -> tuple[int, ...]:
    """A PCI bus id as numbers, for comparing and sorting; empty if it is not one."""
    words = pci_bus_id.replace(".", ":").split(":")
    try:
        return tuple(int(word, 16) for word in words)
    except ValueError:
        return ()

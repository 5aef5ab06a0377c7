"""Many large things, of which none is held: each is read again when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """Things in an order, each read when it is asked for."""

    def __init__(self, read: Callable[[Any], T], keys: Sequence[Any]) -> None:
        self._read, self._keys = read, keys

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...

    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        """One of them, or a part of the sequence."""
        if isinstance(place, slice):
            return LazySequence(self._read, self._keys[place])
        return self._read(self._keys[place])

    def __len__(self) -> int:
        """How many there are."""
        return len(self._keys)

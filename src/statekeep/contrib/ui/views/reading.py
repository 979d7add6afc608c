"""Checkpoints of a thread, past those that are damaged."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from ....domain.checkpoints import SavedCheckpoint
from ....domain.errors import CorruptRecord
from ....repositories.checkpoints import CheckpointRepository


@define
class Reading:
    """Reads checkpoints newest first, and goes on behind a damaged one.

    Attributes:
        checkpoints: the repository.
        thread_id: the thread.
        namespace: only this one; ``None`` for all.
        before: only smaller ids.
        limit: at most so many, damaged ones among them.
        damage: what could not be read.
        is_cut: whether nobody can say where to go on behind a damaged one.
    """

    checkpoints: CheckpointRepository
    thread_id: str
    namespace: str | None
    before: str | None
    limit: int
    damage: list[CorruptRecord] = field(factory=list)
    is_cut: bool = False
    _count: int = 0
    _last: SavedCheckpoint | None = None

    def __iter__(self) -> Iterator[SavedCheckpoint]:
        """Read them."""
        try:
            for saved in self._list(self.limit):
                yield self._read(saved)
            return
        except CorruptRecord:
            pass  # some of that page can be read one by one, which says which cannot
        while self._count < self.limit:
            try:
                found = next(self._list(1), None)
            except CorruptRecord as error:
                self.damage.append(error)
                self._count += 1
                if not self._skip(error):
                    self.is_cut = True
                    return
                continue
            if found is None:
                return
            yield self._read(found)

    def _list(self, limit: int) -> Iterator[SavedCheckpoint]:
        return self.checkpoints.list(self.thread_id, namespace=self.namespace, before=self.before, limit=limit)

    def _read(self, saved: SavedCheckpoint) -> SavedCheckpoint:
        self._count += 1
        self._last, self.before = saved, saved.checkpoint_id
        return saved

    def _skip(self, error: CorruptRecord) -> bool:
        """Go on behind a damaged checkpoint.

        Its key ends with its id, or it is the parent of the last one.
        """
        key = str(getattr(error, "key", "") or "")
        parent = None if self._last is None else self._last.parent_id
        for candidate in (key.rpartition(":")[2], parent):
            if candidate and (self.before is None or candidate < self.before):
                self.before = candidate
                return True
        return False

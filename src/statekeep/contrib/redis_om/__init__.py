"""Records as redis-om models: ``pip install 'statekeep[redis-om]'``.

redis-om reads and writes the same HASHes, byte for byte. What it does not know is what lies beside the records:
indexes, the copy of the newest checkpoint, channel values, and the vectors of items. Call the repository's ``reindex``
after it added, changed or deleted records. ``docs/key-schema.md`` says what else to keep in mind.
"""

from .models import cache_entry_pk, checkpoint_pk, index_commands, item_pk, model_for, pending_write_pk

__all__ = ["cache_entry_pk", "checkpoint_pk", "index_commands", "item_pk", "model_for", "pending_write_pk"]

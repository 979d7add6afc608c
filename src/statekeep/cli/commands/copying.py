"""``copy``: everything from one service to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import encode_labels
from ..options import kinds_option
from ..run import Run
from ..status import Status
from ..vectors import Collection, Embed, index_of

if TYPE_CHECKING:
    from ...repositories.copy import CopyProgress

Source = Annotated[str, typer.Argument(metavar="SOURCE", show_default=False, help="URL to read.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", show_default=False, help="URL to write.")]
TargetPrefix = Annotated[
    str | None,
    typer.Option(
        "--target-key-prefix",
        metavar="TEXT",
        show_default=False,
        help="First part of the target's keys in Valkey; that of --key-prefix by default.",
    ),
]

Kinds = Annotated[list[str] | None, kinds_option("checkpoints, items or logs")]

_WITHOUT_UNITS = ("agentcore:", "bedrock-sessions:")


def copy(
    run: Run,
    source: Source,
    target: Target,
    kinds: Kinds = None,
    target_key_prefix: TargetPrefix = None,
    embed: Embed = None,
    collection: Collection = "default",
) -> int:
    """Copy threads, items and logs to another service.

    Records of the target with the same ids are replaced, others stay. You may repeat it, also when it was stopped.
    Items are put anew: with --embed they get vectors there. Cache entries are not copied.
    """
    from ...inspection.valkey.collections import stored_definition, stored_unit
    from ...repositories.copy import CopyProgress
    from ...repositories.copy import copy as copied

    options: dict[str, Any] = {} if target_key_prefix is None else {"prefix": target_key_prefix}
    if source == target and target_key_prefix in (None, run.common.key_prefix):
        raise InvalidInput("TARGET must be another place than SOURCE", field="target")
    so_far = CopyProgress()
    with run.connect(source) as one:
        unit = stored_unit(one)
        if unit is not None and not target.startswith(_WITHOUT_UNITS):
            options["unit"] = unit
        if embed is not None:
            options["index"] = index_of(one, embed, collection)
        elif stored_definition(one, collection) is not None:
            run.output.note(
                "items of the source have vectors; without --embed they have none in the target, and are not found "
                "there by meaning"
            )
        with run.connect(target, **options) as other, run.progress("Copying") as progress:

            def tell(found: CopyProgress) -> None:
                nonlocal so_far
                so_far = found
                progress.update(found.checkpoints + found.items + found.logs, _place(found))

            try:
                so_far = copied(one, other, kinds=kinds or None, progress=tell)
                status = Status.OK
            except KeyboardInterrupt:
                status = Status.INTERRUPTED
    document = {**so_far.model_dump(exclude={"place", "of_threads", "of_namespaces"}), "complete": status is Status.OK}
    run.output.document(document)
    if status is Status.INTERRUPTED:
        run.output.note("stopped; what was copied is there, and a copy may be repeated")
    return status


def _place(found: CopyProgress) -> str:
    place = found.place
    return "" if place is None else place if isinstance(place, str) else encode_labels(place)

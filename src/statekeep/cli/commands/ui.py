"""``ui``: a page to look at what is kept."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer

from ...domain.errors import InvalidInput
from ..run import Run
from ..vectors import Collection, Embed, index_of

Where = Annotated[
    str | None, typer.Argument(metavar="[URL]", show_default=False, help="Where the records are, instead of --url.")
]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Listen here. Others than this machine need a token.")
]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 for any that is free.")]
Write = Annotated[bool, typer.Option("--write", help="Also delete, prune, clear and copy; each is asked for again.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="STATEKEEP_UI_TOKEN",
        metavar="TEXT",
        show_default=False,
        help="Who knows it may look, 16 characters or more; one is made where it is needed.",
    ),
]
Browser = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]


def ui(
    run: Run,
    where: Where = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    write: Write = False,
    token: Token = None,
    embed: Embed = None,
    collection: Collection = "default",
    browser: Browser = False,
) -> int:
    """Serve a page to look at threads, items, logs and cache entries.

    It runs until it is interrupted, on this machine alone, and changes nothing, unless you say otherwise. Values are
    shown as text, and nothing of them is executed.
    """
    from ...contrib.ui import app
    from ...contrib.ui.guard import LOCAL
    from ...contrib.ui.serving import is_loopback, serve

    is_local = is_loopback(host)
    if token is None and not is_local:
        token = secrets.token_urlsafe(32)
    hosts = (*LOCAL, *(() if host in LOCAL or ":" in host else (host.lower(),))) if is_local else None
    url = where or run.common.url
    with run.connect(url, **_index(run, url, embed, collection)) as keep:
        application = app(keep, write=write, token=token, hosts=hosts, urls=[url] if url else [])

        def ready(address: str) -> None:
            link = address if token is None else f"{address}?token={token}"
            run.output.document(
                {"url": link, "write": write}, lambda: [f"{link}  ({'may change records' if write else 'read-only'})"]
            )
            run.output.stdout.flush()
            if browser:
                import webbrowser

                webbrowser.open(link)

        serve(application, host=host, port=port, ready=ready)
    return 0


def _index(run: Run, url: str | None, embed: str | None, collection: str) -> dict[str, Any]:
    """Return the options of a connection that searches by meaning, where it can."""
    if (url or "").startswith("agentcore:"):
        if embed is not None:
            raise InvalidInput("AgentCore makes the vectors by itself: leave out --embed", field="embed")
        return {"index": {"fields": []}}
    if embed is None:
        return {}
    with run.connect(url) as keep:
        return {"index": index_of(keep, embed, collection)}

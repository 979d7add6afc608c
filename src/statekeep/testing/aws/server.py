"""An HTTP server for one WSGI application on a free port of 127.0.0.1.

It has threads, kept-alive connections, and cut ones.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .errors import ConnectionCut

WsgiApplication = Callable[[dict[str, Any], Any], list[bytes]]


class HttpServer:
    """Serves an application while it is started.

    Args:
        application: a WSGI application whose answers say how long they are. When it raises ``ConnectionCut``, the
            connection is closed without an answer.
        port: TCP port of 127.0.0.1; 0 for a free one.
        now: the time, which answers say, too.
    """

    def __init__(self, application: WsgiApplication, port: int, now: Callable[[], dt.datetime]) -> None:
        self._server = _Server(application, port, now)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to serve, in threads."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="aws-emulator", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving: connections are closed, requests under way get no answer."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.drop_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, application: WsgiApplication, port: int, now: Callable[[], dt.datetime]) -> None:
        self.application = application
        self.now = now
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def drop_connections(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # it may be closed already
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        # A client that went away is no news. Anything else is a defect of the emulator.
        if not isinstance(error, ConnectionError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer goes out in one piece
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: calls are counted, not logged."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write the time of an answer, by the clock of the services."""
        return format_datetime(self.server.now(), usegmt=True)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "RAW_URI": self.path,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        try:
            answer = self.server.application(environ, self._start)
        except ConnectionCut:
            self.close_connection = True
            return
        except Exception:
            # A defect of the emulator is no outage, so no status that clients try again.
            traceback.print_exc()
            self.send_error(501, "The emulator failed")
            return
        for part in answer:
            self.wfile.write(part)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.send_response(int(status.partition(" ")[0]))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

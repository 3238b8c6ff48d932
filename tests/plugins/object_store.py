"""An S3 server on loopback, in a process of its own, which can refuse every n-th write.

with serve() as store: run(study, storage=store.location("runs"))
"""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

BUCKET = "bucket"
REFUSAL = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass(frozen=True)
class ObjectStore:
    """Where a server listens."""

    port: int

    def location(self, prefix: str, user: str = "key:hunter2hunter2@") -> str:
        """A storage's URI in its bucket."""
        where = f"endpoint_override=127.0.0.1%3A{self.port}&scheme=http&region=us-east-1"
        return f"s3://{user}{BUCKET}/{prefix}?{where}"


@contextmanager
def serve(*, refuse_every: int = 0) -> Iterator[ObjectStore]:
    """Start a server with one empty bucket; with `refuse_every`, each n-th PUT of a file fails."""
    server = subprocess.Popen(
        [sys.executable, __file__, str(refuse_every)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        store = ObjectStore(int(server.stdout.readline()))
        urlopen(Request(f"http://127.0.0.1:{store.port}/{BUCKET}", method="PUT")).close()
        yield store
    finally:
        server.kill()
        server.wait()


def refusing(application: Wsgi, every: int) -> Wsgi:
    """The application, but each n-th PUT below a bucket is answered with 503."""
    count = itertools.count(1)

    def answer(environment: dict[str, Any], start: Any) -> Iterable[bytes]:
        puts = environment["REQUEST_METHOD"] == "PUT"
        if puts and environment["PATH_INFO"].count("/") > 1 and next(count) % every == 0:
            length = int(environment.get("CONTENT_LENGTH") or 0)
            environment["wsgi.input"].read(length)
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [REFUSAL]
        return application(environment, start)

    return answer


def main(refuse_every: int) -> None:
    """Serve until stdin ends, once the port was printed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application: Any = DomainDispatcherApplication(create_backend_app)
    if refuse_every:
        application = refusing(application, refuse_every)
    server = make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler
    )
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))

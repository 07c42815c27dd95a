"""A real authority for time stamps on loopback: openssl makes its certificates and its tokens.

Rules: every authority has a certificate authority and a directory of its own; what it is told to do wrong it does in
its answers over HTTP, never in the tokens themselves.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Literal, Self

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"

_CONFIGURATION: Final = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[stamps]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[no-stamps]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,serverAuth
[tsa]
default_tsa = authority
[authority]
serial = {directory}/serial
crypto_device = builtin
signer_cert = {directory}/tsa.pem
signer_key = {directory}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
ess_cert_id_alg = sha256
"""
_NEW: Final = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

Behaviour = Literal["stamps", "fails", "redirects", "mislabels", "floods", "stalls", "repeats", "refuses", "babbles"]


class Authority:
    """The files of an authority, and what it does with a question."""

    def __init__(self, directory: Path, *, digests: str = "sha256, sha384, sha512") -> None:
        """`digests` are what it stamps."""
        directory.mkdir(parents=True)
        self.directory = directory
        self.root = directory / "ca.pem"
        self.configuration = directory / "tsa.cnf"
        self.configuration.write_text(_CONFIGURATION.format(directory=directory, digests=digests))
        (directory / "serial").write_text("01\n")
        self._openssl(f"req -x509 {_NEW} -keyout ca.key -out ca.pem -subj /CN=root -days 30 -extensions ca")
        self._openssl(f"req -new {_NEW} -keyout tsa.key -out tsa.csr -subj /CN=authority")
        self.certify("tsa.pem", "stamps")
        self._lock = threading.Lock()

    def _openssl(self, command: str, *, config: bool = True) -> None:
        given = ["openssl", *command.split(), *(["-config", "tsa.cnf"] if config else [])]
        subprocess.run(given, cwd=self.directory, check=True, capture_output=True)

    def certify(self, name: str, extensions: str) -> bytes:
        """A certificate of the authority's key, with the same number each time; its DER."""
        sign = f"x509 -req -in tsa.csr -CA ca.pem -CAkey ca.key -set_serial 7 -days 20 -out {name}"
        self._openssl(f"{sign} -extfile tsa.cnf -extensions {extensions}", config=False)
        self._openssl(f"x509 -in {name} -outform DER -out {name}.der", config=False)
        return (self.directory / f"{name}.der").read_bytes()

    def stamp(self, question: bytes) -> bytes:
        """The answer to a question, both DER."""
        with self._lock:
            (self.directory / "question").write_bytes(question)
            self._openssl("ts -reply -queryfile question -out answer")
            return (self.directory / "answer").read_bytes()

    def believes(self, token: bytes, data: bytes) -> bool:
        """What openssl says of a token: a judge that shares no code with ours."""
        (self.directory / "token").write_bytes(token)
        (self.directory / "data").write_bytes(data)
        command = ["openssl", "ts", "-verify", "-in", "token", "-data", "data", "-CAfile", "ca.pem"]
        return subprocess.run(command, cwd=self.directory, check=False, capture_output=True).returncode == 0


class Office:
    """The authority behind a door: an HTTP server on loopback that behaves as it is told."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.behaviour: Behaviour = "stamps"
        self.asked: list[bytes] = []
        self._before: bytes | None = None
        self.released = threading.Event()
        office = self

        class Clerk(BaseHTTPRequestHandler):
            """One question, one answer."""

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                question = self.rfile.read(length)
                office.asked.append(question)
                assert self.headers["Content-Type"] == QUERY
                office.answer(self, question)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Clerk)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where to ask."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/tsr"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, clerk: BaseHTTPRequestHandler, question: bytes) -> None:
        """What goes back."""
        if self.behaviour in ("fails", "redirects"):
            clerk.send_response(500 if self.behaviour == "fails" else 307)
            clerk.send_header("Location", self.url)
            clerk.send_header("Content-Length", "0")
            clerk.end_headers()
            return
        token = self._token(question)
        if self.behaviour == "stalls":
            self.released.wait(30)
        clerk.send_response(200)
        clerk.send_header("Content-Type", "text/html" if self.behaviour == "mislabels" else REPLY)
        clerk.send_header("Content-Length", str(len(token)))
        clerk.end_headers()
        # Who has enough of a flood hangs up.
        with contextlib.suppress(ConnectionError):
            clerk.wfile.write(token)

    def _token(self, question: bytes) -> bytes:
        if self.behaviour == "floods":
            return bytes(1_000_000)
        if self.behaviour == "babbles":
            return b"<html>come back later</html>"
        if self.behaviour == "repeats" and self._before is not None:
            return self._before
        self._before = self.authority.stamp(question)
        return self._before

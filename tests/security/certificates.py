"""Certificates of any make, and TLS servers that show them and count the requests that reach them."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.faulty import read_request

REPLY = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"result": []}'


def write_certificate(path: Path, *, address: str = "127.0.0.1", days_left: int = 1) -> Path:
    """Write a certificate for an address, signed by itself, and its key; it ends in `days_left` days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"chatstash tests {address} {days_left}")])
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=days_left)
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - dt.timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(place, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@dataclass
class TlsServer:
    """A TLS server on 127.0.0.1; `requests` holds what clients sent over connections they trusted."""

    listener: socket.socket
    context: ssl.SSLContext
    requests: list[bytes] = field(default_factory=list)
    until_the_end: bool | None = None
    """Whether a reply without a length is ended as TLS wants it; None for replies with one."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(plain,), daemon=True).start()

    def answer(self, plain: socket.socket) -> None:
        with plain, contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as client:
            while request := read_request(client):
                self.requests.append(request)
                if self.until_the_end is None:
                    client.sendall(REPLY)
                else:
                    client.sendall(REPLY.replace(b"content-length: 14\r\n", b""))
                    self.end(client)
                    return

    def end(self, client: ssl.SSLSocket) -> None:
        if self.until_the_end:
            client.unwrap()
        else:
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving_tls(certificate: Path) -> Iterator[TlsServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = TlsServer(socket.create_server(("127.0.0.1", 0)), context)
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        with contextlib.suppress(OSError):
            server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()

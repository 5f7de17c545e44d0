"""A certificate of the simulator's own, made when it starts."""

from __future__ import annotations

import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("For TLS the simulator needs cryptography, which Airflow has", name=error.name) from error

DAYS = 30


def make(names: list[str], file: Path) -> ssl.SSLContext:
    """
    Make a certificate, and write it, without its key, to a file for clients to trust.

    :param names: by which the simulator is called, besides this machine's name: hosts or addresses
    :param file: where it is written
    :returns: what serves TLS with it
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Simulator of Bitrix24 and Domo")])
    now = datetime.now(UTC)
    alternatives = [_alternative(one) for one in dict.fromkeys([*names, socket.gethostname()])]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(pem)
    return _context(pem, key)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _context(pem: bytes, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    """Return what serves TLS; the key is in a file for no longer than it takes to read it."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # only its owner can read it
        file.write(pem + secret)
        file.flush()
        context.load_cert_chain(file.name)
    return context

"""A certificate for servers on 127.0.0.1, which clients of a bench trust and verify."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

#: Names the certificate that clients of this run trust; measured processes inherit it.
TRUSTED = "BENCH_TRUSTED"


def trusted() -> str | None:
    """Return the path of the certificate that a client has to trust, None where servers speak HTTP."""
    return os.environ.get(TRUSTED)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate that signs itself, of a key on P-256, as AWS's load balancers take; return it and the key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = directory / "certificate.pem", directory / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


@contextmanager
def trusting(certificate: Path) -> Iterator[None]:
    """Have clients trust a certificate, in this process and in those that are measured meanwhile."""
    os.environ[TRUSTED] = str(certificate)
    try:
        yield
    finally:
        del os.environ[TRUSTED]

"""Certificates for a test."""

from __future__ import annotations

from pathlib import Path

import trustme


def write_certificate(place: Path, name: str, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """The chain and the key of a certificate, in two files."""
    chain, key = place / f"{name}.pem", place / f"{name}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return chain, key

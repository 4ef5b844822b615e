"""What an operator has chosen for one instance: the flags as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outputd.archive.choice import Choice
from outputd.naming.resolver import Server
from outputd.security.proxies import Proxies
from outputd.store.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The flags of one instance, checked; a file that was not given is None."""

    port: str
    health_port: str
    input_url: str
    """Where hops are posted, empty when the feed is turned off."""
    directory: Path
    limits: Limits
    feed: str
    max_hops: int
    max_pending_bytes: int
    max_connections: int
    archive: Choice | None
    """None when nothing is shipped."""
    tls_cert: Path | None
    tls_key: Path | None
    client_ca: Path | None
    input_ca: Path | None
    input_token_file: Path | None
    webhook: str
    """Where changes are posted, empty when they are not."""
    webhook_ca: Path | None
    webhook_token_file: Path | None
    tokens_file: Path | None
    trusted_proxies: Proxies
    asn_db: Path | None
    rdns: bool
    rdns_resolver: Server | None
    """None for those of /etc/resolv.conf."""
    verbose: bool
    refeed: bool

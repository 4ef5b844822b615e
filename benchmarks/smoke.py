"""Whether everything that is counted is counted right. No time is judged, however slow the machine."""

from __future__ import annotations

from benchmarks import growth, load
from benchmarks.go import Peer
from benchmarks.read import Route, get
from benchmarks.reads import questions
from benchmarks.service import HOST, Service, Wrong, call, dumping, input_service, meanwhile, rotating
from benchmarks.session import Session

_RESULTS = 3000  # of each kind,
_POSTS = 600  # in no more POSTs than these
_KNOWN = 1000
_READS = ("/recent?limit=100", "/recent?limit=100&ip=192.0.2.1", "/stats", "/health", "/ready", "/metrics")


def run(session: Session) -> str:
    """Post each kind while files rotate and dumps go on, read every route, compare all counts. Raises Wrong."""
    session.seconds = session.warmup = 0.1
    with input_service() as url:
        service = session.service(None, "--keep-files=1000", input_url=url)
        with service:
            with meanwhile(rotating(service), dumping(service, 0.2)):
                for kind in session.kinds:
                    posts = min(_POSTS, round(_RESULTS / kind.results_a_body))
                    _tell(session, kind.title, service.post(kind, 8, 0.0, count=posts))
                    _tell(session, f"{kind.title}, open loop", service.post(kind, 8, 0.0, rate=50.0, count=25))
            service.check()
            _read(service)
            _ask(service)
        stored = service.check_files()
    for kind in session.kinds:
        session.limit(kind, 4)
    _know(session)
    if session.peer is not None:
        with Peer(session.peer, session.directory()) as peer:
            _tell(session, "the peer in Go", peer.post(session.kinds[0], 4, 0.0, count=8))
    return f"smoke: {stored:,} results acknowledged, counted and stored in {len(service.files())} files"


def _know(session: Session) -> None:
    """A ledger that was made aside is one that the service takes for its own."""
    with session.service(growth.directory_with(session, growth.prefilled(session, _KNOWN, waiting=True))) as service:
        if service.backlog != _KNOWN:
            raise Wrong(f"of {_KNOWN} addresses that wait the service knows {service.backlog}")


def _tell(session: Session, title: str, tally: load.Tally) -> None:
    session.say(f"{title}: {sum(tally.statuses.values())} POSTs, {tally.acknowledged_total:,} results")
    if not tally.acknowledged_total or not load.summary(tally)["results_per_s"]:
        raise Wrong(f"{title}: nothing was stored")


def _ask(service: Service) -> None:
    """What the questions count is what was acknowledged, and every one is answered."""
    for path in questions(service).values():
        status, body = call(service.health_port, "GET", path)
        if status != 200 or not body:
            raise Wrong(f"GET {path}: {status} {body[:200]!r}")
    for path, name in (("/targets?limit=100000", "targets"), ("/nodes", "nodes")):
        counted = sum(row["results"] for row in service.get(path)[name])
        if counted != service.acknowledged:
            raise Wrong(f"GET {path} counts {counted} results, {service.acknowledged} were acknowledged")


def _read(service: Service) -> None:
    bases = {path: service.health_port for path in _READS} | {"/dump": service.port}
    for path, port in bases.items():
        measured = get(Route(f"http://{HOST}:{port}", path, 0.0))
        if measured.statuses != "200" or not measured.bytes_each:
            raise Wrong(f"GET {path}: {measured.statuses}, {measured.bytes_each} bytes")

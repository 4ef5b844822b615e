"""Routes: from a path and a method to the handler, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from outputd.process.log import Logger
from outputd.web.answers import Answer, problem
from outputd.web.request import CappedRequest, put, send

_log = Logger()
Handler = Callable[Concatenate[CappedRequest, ...], None]
"""Sends the answer itself, at once or later."""


def answered(request: CappedRequest, work: Coroutine[Any, Any, Answer | None]) -> None:
    """Send what `work` returns, None when it has sent the answer itself.

    The work goes on when the client hangs up; the request is under way until it ends.
    """

    def done(outcome: Answer | Failure | None) -> None:
        try:
            if isinstance(outcome, Failure):
                request.processingFailed(outcome)
            elif outcome is not None:
                send(request, *outcome)
        finally:
            request.end()

    Deferred.fromCoroutine(work).addBoth(done)


def route(app: Klein, path: str, method: str, handler: Handler) -> None:
    """Give a route to a handler, which gets the path's `<parts>` by their names.

    Klein would cancel the handler's own Deferred when the client hangs up.
    """

    def endpoint(request: CappedRequest, **parts: str) -> Deferred[None]:
        finished: Deferred[None] = Deferred()
        request.notifyFinish().addBoth(lambda _: finished.callback(None))
        handler(request, **parts)
        return finished

    app.route(path, methods=[method], endpoint=f"{method} {path}")(endpoint)


class Resource(KleinResource):
    """A Klein application as the root of a site; what Klein cannot route is a problem, never HTML."""

    def render(self, request: IRequest) -> Any:
        """See KleinResource."""
        assert isinstance(request, CappedRequest)
        try:
            method, path = request.method.decode("ascii"), b"/".join(request.postpath or ()).decode()
        except UnicodeDecodeError:
            send(request, *problem(400, "the method is not ASCII, or the path not UTF-8"))
            return server.NOT_DONE_YET
        if method != method.upper():  # Klein would take it for the same in capitals
            allowed = self._app.url_map.bind("outputd").allowed_methods(f"/{path}")
            send(request, *(_no_such_method(allowed) if allowed else problem(404, _NO_PATH)))
            return server.NOT_DONE_YET
        return super().render(request)


_NO_PATH = "there is nothing at this path"


def _no_such_method(allowed: Iterable[str]) -> Answer:
    return problem(405, "this path does not know this method", {b"Allow": ", ".join(sorted(allowed)).encode()})


def with_problems(app: Klein) -> None:
    """Make every error of a Klein application a problem."""

    def routed(request: IRequest, failure: Failure) -> bytes:
        error = failure.value
        assert isinstance(error, HTTPException)
        if methods := getattr(error, "valid_methods", None):
            return put(request, _no_such_method(methods))
        status = error.code or 500
        if status < 400 or status == 404:  # the former is a redirect to another spelling of the path
            return put(request, problem(404, _NO_PATH))
        return put(request, problem(status, error.description or ""))

    def failed(request: IRequest, failure: Failure) -> bytes:
        _log.failure("a request failed", failure=failure)
        return put(request, problem(500, "an error in outputd; its log tells more"))

    app.handle_errors(HTTPException)(routed)
    app.handle_errors(failed)

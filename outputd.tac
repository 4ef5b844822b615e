"""The service for ``twistd --pidfile= -ny outputd.tac``, set by the environment alone (``OUTPUTD_PORT=9000``)."""

from twisted.application.service import Application
from twisted.python.usage import UsageError

from outputd.tap import Options, makeService

try:
    options = Options()
    options.parseOptions([])
except UsageError as error:
    raise SystemExit(f"outputd: {error}") from None

application = Application("outputd")
makeService(options).setServiceParent(application)

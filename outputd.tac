"""The service for ``twistd --pidfile= -ny outputd.tac``, set by the environment alone (``OUTPUTD_PORT=9000``)."""

from twisted.application.service import Application

from outputd.tap import Options, makeService

options = Options()
options.parseOptions([])

application = Application("outputd")
makeService(options).setServiceParent(application)

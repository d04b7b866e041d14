"""The program of an FTP server (pyftpdlib): its one argument holds the port, the folder and what it does badly, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.servers import FTPServer

GIVEN: dict[str, Any] = json.loads(sys.argv[1])


class Transfer(DTPHandler):  # type: ignore[misc]  # the library has no types
    """A transfer that ends after some bytes when it is told to."""

    def send(self, data: bytes) -> int:
        most = GIVEN["drop_after"]
        if not most or len(data) <= most:
            return int(super().send(data))
        sent = int(super().send(data[:most]))
        self.cmd_channel.close()
        return sent


def main() -> None:
    accounts = DummyAuthorizer()
    accounts.add_user("depot", GIVEN["password"], GIVEN["folder"], perm=GIVEN["permissions"])
    handler = type("Handler", (FTPHandler,), {"authorizer": accounts, "dtp_handler": Transfer, "use_sendfile": False})
    handler.banner = "depot file exchange ready."
    handler.auth_failed_timeout = 0
    server = FTPServer(("127.0.0.1", GIVEN["port"]), handler)
    server.max_cons = GIVEN["connections"]
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()

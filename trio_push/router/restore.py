"""What earlier runs of the server left in the journal is taken over, once, at the start."""

from __future__ import annotations

import structlog
import trio

from trio_push.config import SECONDS
from trio_push.mailbox.journal import Journal
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.users import Users
from trio_push.router.directory import Directory

log = structlog.get_logger()

#: time that devices have to come back before what they should acknowledge waits for them like
#: any other push; they are told to within 15 s when the server is stopped
RETURN_S = 30 * SECONDS
#: pushes taken over before other tasks get a turn: 5 ms
SLICE = 500


async def restore(
    journal: Journal, offline: Offline, directory: Directory, users: Users, now: float
) -> None:
    """Hold its pushes again, refuse who is unregistered, know whose device is whose.

    To be called before anything else happens. Raises ConfigError when it cannot be read.
    """
    unregistered = journal.unregistered()
    for token, since in unregistered.items():
        directory.unregister(token, since)
    for token, user in journal.users().items():
        users.restore(user, token)
    pushes = 0
    for pushes, row in enumerate(journal.rows(), 1):
        offline.restore(row, now, resend_at=now + RETURN_S)
        if pushes % SLICE == 0:
            await trio.lowlevel.checkpoint()
    found = {"pushes": pushes, "unregistered": len(unregistered), "users": len(users)}
    if any(found.values()):
        log.info("restored", **found)

"""Which devices belong to which user: told when devices connect, asked by the API.

The journal knows it too, so that an earlier run's devices are known before they come back.
"""

from __future__ import annotations

from trio_push.errors import Refusal
from trio_push.mailbox.journal import Journal
from trio_push.wire.reasons import TOO_MANY_DEVICES


class Users:
    """User → device tokens, in order of coming; each token belongs to one user at most."""

    def __init__(self, journal: Journal, *, per_user: int) -> None:
        self._journal = journal
        self._per_user = per_user
        self._tokens: dict[str, dict[str, None]] = {}
        self._user: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def enrol(self, user: str, token: str) -> None:
        """The token is the user's from now on. Raises Refusal."""
        if self._user.get(token) == user:
            return
        tokens = self._tokens.get(user, {})
        if len(tokens) >= self._per_user:
            raise Refusal(TOO_MANY_DEVICES)
        self.remove(token)
        self.restore(user, token)
        self._journal.enrol(user, token)

    def restore(self, user: str, token: str) -> None:
        """The token, which is nobody's, was the user's in an earlier run."""
        self._tokens.setdefault(user, {})[token] = None
        self._user[token] = user

    def remove(self, token: str) -> None:
        user = self._user.pop(token, None)
        if user is None:
            return
        self._journal.leave(token)
        tokens = self._tokens[user]
        del tokens[token]
        if not tokens:
            del self._tokens[user]

    def tokens(self, user: str) -> list[str]:
        """The user's devices; none for a user who is not known."""
        return list(self._tokens.get(user, ()))

    def others(self, token: str) -> list[str]:
        """The other devices of the user whom the token belongs to."""
        user = self._user.get(token)
        return [] if user is None else [other for other in self._tokens[user] if other != token]

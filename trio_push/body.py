"""Lets what the body of an `async with` raises out as it is.

A block that has a nursery puts it into an exception group, also when nothing else went wrong. Who
wrote the body sees no nursery, and expects what was raised: `pytest.raises` around the block, a
failed assertion in a test. Used by the blocks that others open: the provider client, the server
of a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trio_push.errors import leaves


class Body:
    """The body of one block: `running` around its `yield`, `unwrapped` around the nurseries."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Remember what the body raises."""
        try:
            yield
        except BaseException as exc:
            self._error = exc
            raise

    @contextmanager
    def unwrapped(self) -> Iterator[None]:
        """Take it out of its groups, if it is alone in them: nothing that was raised is lost."""
        try:
            yield
        except BaseExceptionGroup as group:
            error = self._error
            if error is None or not _is_all_of(group, error):
                raise
            context = error.__context__
            try:
                raise error
            finally:
                # else it would be told as an error in handling the group
                error.__context__ = context


def _is_all_of(group: BaseException, error: BaseException) -> bool:
    """Whether nothing else is in the group; groups inside are made anew as they pass a nursery."""
    return list(map(id, leaves(group))) == list(map(id, leaves(error)))

"""What a push of the swarm's own carries so that its delivery can be audited. Pure.

The payload is an MDM wake-up with one more key, and stays what it is for everybody else:
``{"mdm":"<magic>","tp":{"run":"5f3a…","to":17,"n":4,"at":1700000000.250000}}``
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec

#: what a pad adds beside its own length
_PAD_KEY: Final = ',"pad":""'


class Stamp(NamedTuple):
    """Which push this is: the `n`th (from 1) for device `to`, due at `at_epoch_s`."""

    to: int
    n: int
    at_epoch_s: float


class _Fields(msgspec.Struct):
    run: str
    to: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    n: Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
    at: float


class _Payload(msgspec.Struct):
    tp: _Fields


class Stamper:
    """Writes and reads the stamps of one run.

    `size_bytes` is the least size of a payload; it is filled up with a key ``pad``. `first` is what
    a payload calls the device that is 0 here.
    """

    __slots__ = ("_decoder", "_first", "_run", "_size_bytes")

    def __init__(self, run: str, size_bytes: int = 0, *, first: int = 0) -> None:
        self._first = first
        self._run = run
        self._size_bytes = size_bytes
        self._decoder = msgspec.json.Decoder(_Payload)

    def payload(self, stamp: Stamp) -> bytes:
        run, to, n, at = self._run, self._first + stamp.to, stamp.n, stamp.at_epoch_s
        text = f'{{"mdm":"{run}","tp":{{"run":"{run}","to":{to},"n":{n},"at":{at:.6f}}}}}'
        missing = self._size_bytes - len(text)
        if missing > 0:
            text = f'{text[:-1]},"pad":"{"x" * (missing - len(_PAD_KEY))}"}}'
        return text.encode()

    def read(self, data: str) -> Stamp | None:
        """The stamp in what a device received; None if the push is not of this run."""
        if self._run not in data:
            return None
        try:
            fields = self._decoder.decode(data).tp
        except msgspec.DecodeError:
            return None
        if fields.run != self._run:
            return None
        return Stamp(fields.to - self._first, fields.n, fields.at)

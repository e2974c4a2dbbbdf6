from __future__ import annotations

import json

import pytest

from trio_push.swarm.stamp import Stamp, Stamper

STAMP = Stamp(to=17, n=4, at_epoch_s=1_700_000_000.25)


def test_payload_is_an_mdm_wake_up() -> None:
    payload = json.loads(Stamper("5f3a").payload(STAMP))
    assert payload == {
        "mdm": "5f3a",
        "tp": {"run": "5f3a", "to": 17, "n": 4, "at": 1_700_000_000.25},
    }


@pytest.mark.parametrize("size_bytes", [0, 70, 100, 4096])
def test_reads_what_it_wrote(size_bytes: int) -> None:
    stamper = Stamper("5f3a", size_bytes)
    payload = stamper.payload(STAMP)
    assert len(payload) >= size_bytes
    assert stamper.read(payload.decode()) == STAMP


@pytest.mark.parametrize("size_bytes", range(90, 110))
def test_payload_is_filled_up(size_bytes: int) -> None:
    payload = Stamper("5f3a", size_bytes).payload(STAMP)
    assert len(payload) in range(size_bytes, size_bytes + 10)
    json.loads(payload)


def test_reads_a_payload_that_was_written_anew() -> None:
    stamper = Stamper("5f3a")
    again = json.dumps(json.loads(stamper.payload(STAMP)), indent=2, sort_keys=True)
    assert stamper.read(again) == STAMP


@pytest.mark.parametrize(
    "data",
    [
        "",
        "5f3a",
        '{"mdm":"5f3a"}',
        '{"mdm":"5f3a","tp":{}}',
        '["5f3a"]',
        '{"tp":{"run":"5f3a","to":17,"n":0,"at":1}}',
        '{"tp":{"run":"5f3a","to":-1,"n":1,"at":1}}',
        '{"tp":{"run":"5f3a","to":17,"n":99999999999999999999,"at":1}}',
        '{"tp":{"run":"other","to":17,"n":4,"at":1,"note":"5f3a"}}',
        '{"tp":{"run":"5f3a","to":17,"n":4,"at":1}',
    ],
)
def test_pushes_of_others(data: str) -> None:
    assert Stamper("5f3a").read(data) is None


def test_a_share_of_the_devices_is_numbered_from_zero() -> None:
    payload = Stamper("run").payload(Stamp(17, 4, 1.5)).decode()
    share = Stamper("run", first=10)
    assert share.read(payload) == Stamp(7, 4, 1.5)
    assert share.payload(Stamp(7, 4, 1.5)).decode() == payload

from __future__ import annotations

from h2.errors import ErrorCodes

from trio_push.faults.actions import Status, code_of


def test_error_codes_are_those_of_http2() -> None:
    for code in ErrorCodes:
        name = "CANCEL" if code is ErrorCodes.CANCEL else code.name
        assert code_of(name) == code  # type: ignore[arg-type]


def test_a_reason_of_ours_has_its_status() -> None:
    assert Status(reason="PayloadTooLarge").http_status == 413
    assert Status(reason="PayloadTooLarge", status=400).http_status == 400
    assert Status(reason="OutToLunch", status=418).http_status == 418

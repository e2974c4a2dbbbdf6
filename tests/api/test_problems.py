from __future__ import annotations

import msgspec
import pytest
from werkzeug.exceptions import NotFound

from trio_push.api.problems import Invalid, Problem, name_of, problem_of, retry_after_s
from trio_push.errors import Refusal
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, SHUTDOWN, UNREGISTERED


def test_a_refusal_has_apns_reason() -> None:
    assert problem_of(Refusal(UNREGISTERED, timestamp_ms=12)) == Problem(
        type="/docs#Unregistered",
        title="the device token was unregistered",
        status=410,
        detail="the device token was unregistered",
        reason="Unregistered",
        timestamp=12,
    )


def test_a_field_has_the_reason_that_apns_has_for_its_header() -> None:
    problem = problem_of(Invalid("no", field="priority"))
    assert (problem.status, problem.reason, problem.field) == (400, "BadPriority", "priority")


def test_others_have_the_title_of_their_status() -> None:
    assert problem_of(Invalid("no", field="ttl_s")) == Problem(
        type="about:blank", title="Bad Request", status=400, detail="no", field="ttl_s"
    )
    assert problem_of(NotFound("where?")) == Problem(
        type="about:blank", title="Not Found", status=404, detail="where?"
    )


def test_what_there_is_not_is_left_out() -> None:
    assert set(msgspec.to_builtins(problem_of(Invalid("no")))) == {
        "type",
        "title",
        "status",
        "detail",
    }


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Refusal(SHUTDOWN), "Shutdown"),
        (Invalid("no", field="id"), "BadMessageId"),
        (Invalid("no"), "BadRequest"),
        (Invalid("no", status=409), "Conflict"),
        (Invalid("no", status=415), "UnsupportedMediaType"),
    ],
)
def test_names_for_counting(error: Refusal | Invalid, name: str) -> None:
    assert name_of(error) == name


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Refusal(SHUTDOWN), 5),
        (Refusal(SERVICE_UNAVAILABLE), 1),
        (Refusal(SERVICE_UNAVAILABLE, retry_after_s=7), 7),
        (Refusal(UNREGISTERED), None),
        (Invalid("no"), None),
    ],
)
def test_when_to_try_again(error: Exception, seconds: int | None) -> None:
    assert retry_after_s(error) == seconds

"""Every reason with which a push or a device is refused, and the HTTP status of each.

The names are Apple's ("Handling notification responses from APNs"), but for those of access
tokens: Apple tells nobody how its devices prove who they are. One table, so that the wire, the API
and the documentation can only agree. What causes a reason under the strict profile, and in which
order, is told by the rules of that profile.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """A refusal's name on the wire, its HTTP status, and what causes it."""

    name: str
    status: int
    trigger: str


BAD_COLLAPSE_ID: Final = Reason("BadCollapseId", 400, "apns-collapse-id is over 64 bytes")
BAD_DEVICE_TOKEN: Final = Reason(
    "BadDeviceToken", 400, "the device token is not hex of even length"
)
BAD_EXPIRATION_DATE: Final = Reason(
    "BadExpirationDate", 400, "apns-expiration is not epoch seconds"
)
BAD_MESSAGE_ID: Final = Reason("BadMessageId", 400, "apns-id is not a UUID")
BAD_PRIORITY: Final = Reason("BadPriority", 400, "apns-priority is not 10, 5 or 1")
DUPLICATE_HEADERS: Final = Reason("DuplicateHeaders", 400, "an apns-* header is given twice")
IDLE_TIMEOUT: Final = Reason("IdleTimeout", 400, "the connection was idle for too long")
INVALID_PUSH_TYPE: Final = Reason("InvalidPushType", 400, "apns-push-type is not mdm")
MISSING_DEVICE_TOKEN: Final = Reason("MissingDeviceToken", 400, "no device token is given")
PAYLOAD_EMPTY: Final = Reason("PayloadEmpty", 400, "the body is empty")
MISSING_ACCESS_TOKEN: Final = Reason("MissingAccessToken", 401, "the device shows no JWT")
INVALID_ACCESS_TOKEN: Final = Reason(
    "InvalidAccessToken", 401, "the device's JWT is not valid on this server"
)
EXPIRED_ACCESS_TOKEN: Final = Reason("ExpiredAccessToken", 401, "the device's JWT has expired")
FORBIDDEN: Final = Reason("Forbidden", 403, "the device's JWT is for another device token")
MISSING_PROVIDER_TOKEN: Final = Reason("MissingProviderToken", 403, "the provider shows no API key")
INVALID_PROVIDER_TOKEN: Final = Reason(
    "InvalidProviderToken", 403, "the provider's API key is not one of this server's"
)
BAD_USER: Final = Reason("BadUser", 400, "the user is not printable text of up to 255 characters")
TOO_MANY_DEVICES: Final = Reason(
    "TooManyDevices", 400, "the user has as many devices as one may have"
)
BAD_PATH: Final = Reason("BadPath", 404, "the path is not /3/device/<token>")
METHOD_NOT_ALLOWED: Final = Reason("MethodNotAllowed", 405, "the method is not POST")
UNREGISTERED: Final = Reason("Unregistered", 410, "the device token was unregistered")
PAYLOAD_TOO_LARGE: Final = Reason("PayloadTooLarge", 413, "the body is over 4096 bytes")
INTERNAL_SERVER_ERROR: Final = Reason("InternalServerError", 500, "a fault of this server, logged")
SERVICE_UNAVAILABLE: Final = Reason("ServiceUnavailable", 503, "a limit of this server is reached")
SHUTDOWN: Final = Reason("Shutdown", 503, "the server is shutting down")

# Those that the strict profile alone gives.

BAD_TOPIC: Final = Reason("BadTopic", 400, "apns-topic cannot be a topic")
DEVICE_TOKEN_NOT_FOR_TOPIC: Final = Reason(
    "DeviceTokenNotForTopic", 400, "the device token is for another topic"
)
MISSING_TOPIC: Final = Reason("MissingTopic", 400, "no apns-topic is given")
TOPIC_DISALLOWED: Final = Reason(
    "TopicDisallowed", 400, "the provider's key or certificate is for other topics"
)
BAD_CERTIFICATE: Final = Reason(
    "BadCertificate", 403, "the provider's certificate is no push certificate, or was revoked"
)
BAD_CERTIFICATE_ENVIRONMENT: Final = Reason(
    "BadCertificateEnvironment", 403, "the provider's certificate is for the other environment"
)
EXPIRED_PROVIDER_TOKEN: Final = Reason(
    "ExpiredProviderToken", 403, "the provider's token is more than an hour old"
)
UNRELATED_KEY_ID: Final = Reason(
    "UnrelatedKeyIdInToken", 403, "the provider's token is of another key than the connection's"
)
BAD_ENVIRONMENT_KEY_ID: Final = Reason(
    "BadEnvironmentKeyIdInToken", 403, "the provider's key is for the other environment"
)
EXPIRED_TOKEN: Final = Reason("ExpiredToken", 410, "the device token has expired")
TOO_MANY_TOKEN_UPDATES: Final = Reason(
    "TooManyProviderTokenUpdates", 429, "the provider's token is changed within 20 minutes"
)
TOO_MANY_REQUESTS: Final = Reason(
    "TooManyRequests", 429, "too many pushes in a row to one device token"
)

REASONS: Final = {
    reason.name: reason for reason in list(globals().values()) if isinstance(reason, Reason)
}

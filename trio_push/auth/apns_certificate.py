"""A push certificate: what its holder may push to, and in which environment. Pure.

Apple's carry their topic as UID in the subject; those for several topics list them in an extension
of Apple's, a sequence in which each topic is followed by a sequence of its kinds. Two more
extensions say which environments they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

#: lists the topics
TOPICS: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")
#: mark the environments that it is for
ENVIRONMENTS: Final = {
    "development": x509.ObjectIdentifier("1.2.840.113635.100.6.3.1"),
    "production": x509.ObjectIdentifier("1.2.840.113635.100.6.3.2"),
}

_UTF8_STRING: Final = 0x0C
_SEQUENCE: Final = 0x30


class PushCertificate(NamedTuple):
    """What a certificate says of its holder."""

    serial: int
    #: none: it is no push certificate
    topics: frozenset[bytes]
    #: the only topic; b"" if there are several
    default_topic: bytes
    environments: frozenset[str]


def parse_certificate(der: bytes) -> PushCertificate:
    """What any certificate says, were it badly encoded."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = {one.oid: one.value for one in certificate.extensions}
        subject = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
        topics = {str(one.value).encode() for one in subject}
        listed = extensions.get(TOPICS)
        if isinstance(listed, x509.UnrecognizedExtension):
            topics.update(_topics_in(listed.value))
    except ValueError:  # also x509's own, for what is badly encoded
        return PushCertificate(0, frozenset(), b"", frozenset())
    return PushCertificate(
        serial=certificate.serial_number,
        topics=frozenset(topics),
        default_topic=next(iter(topics)) if len(topics) == 1 else b"",
        environments=frozenset(name for name, oid in ENVIRONMENTS.items() if oid in extensions),
    )


def encode_topics(topics: Iterable[tuple[str, str]]) -> bytes:
    """The value of the extension TOPICS: each topic, and the kind of push that it is for."""
    items = []
    for topic, kind in topics:
        items += [
            _encode(_UTF8_STRING, topic.encode()),
            _encode(_SEQUENCE, _encode(_UTF8_STRING, kind.encode())),
        ]
    return _encode(_SEQUENCE, b"".join(items))


def _topics_in(der: bytes) -> Iterator[bytes]:
    for tag, content in _elements(der):
        if tag == _SEQUENCE:
            yield from (text for kind, text in _elements(content) if kind == _UTF8_STRING)


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of DER one after the other. Raises ValueError."""
    while der:
        if len(der) < 2:
            raise ValueError("an element without a length")
        tag, size, start = der[0], der[1], 2
        if size >= 0x80:
            start += size - 0x80
            size = int.from_bytes(der[2:start], "big")
        content, der = der[start : start + size], der[start + size :]
        if len(content) < size:
            raise ValueError("an element that is cut off")
        yield tag, content


def _encode(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 + len(length))) + length + content

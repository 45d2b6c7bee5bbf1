"""Why the demo upstream says no: one closed table, with the codes that clients of the real API branch on."""

from enum import Enum
from typing import Final


class Fault(Enum):
    """A refusal: HTTP status, v4 code, message with the words to fill in."""

    INVALID_TOKEN = 403, 9109, "Invalid access token"
    NO_ROUTE = 404, 7003, "Could not route to {path}, perhaps your object identifier is invalid?"
    NO_METHOD = 405, 7001, "Method {method} not available for that URI."
    BODY_TOO_LARGE = 413, 10413, "The body is larger than {most} bytes."
    BROKEN_BODY = 400, 6003, "Invalid request body framing"
    MALFORMED_JSON = 400, 6007, "Malformed JSON in request body"
    INVALID_BODY = 400, 9207, "Request body is invalid: {detail}"
    INVALID_QUERY = 400, 6004, "Invalid query parameter: {parameter}"

    NO_RECORD = 404, 81044, "Record does not exist."
    HOST_EXISTS = 400, 81053, "An A, AAAA, or CNAME record with that host already exists."
    CNAME_EXISTS = 400, 81054, "A CNAME record with that host already exists."
    IDENTICAL_RECORD = 400, 81058, "An identical record already exists."
    RECORD_INCOMPLETE = 400, 1004, "DNS Validation Error: {missing} is required."
    RECORD_TYPE = 400, 1004, "DNS Validation Error: this demo has no records of type {type}."
    NAME = 400, 9000, "DNS name is invalid."
    NOT_PROXIABLE = 400, 9004, "This record type cannot be proxied."
    NOT_IPV4 = 400, 9005, "Content for A record must be a valid IPv4 address."
    NOT_IPV6 = 400, 9006, "Content for AAAA record must be a valid IPv6 address."
    CONTENT = 400, 9007, "Content for {type} record is invalid."
    TTL = 400, 9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."
    PRIORITY = 400, 9102, "Priority must be between 0 and 65535."
    ZONE_FILE = 400, 1004, "DNS Validation Error: line {line} of the zone file: {detail}"

    ZONE_EXISTS = 400, 1061, "{name} already exists"
    ZONE_NAME = 400, 1049, "{name} is not a registered domain"
    ZONE_ACCOUNT = 400, 1068, "No such account"
    NOTHING_TO_PURGE = (
        400,
        1012,
        'Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes"',
    )


class Rejected(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """Ends a request with `fault`; `words` fill in its message."""

    def __init__(self, fault: Fault, **words: object) -> None:
        self.fault: Final = fault
        self.status, self.code, message = fault.value
        self.message: Final = message.format(**words)
        super().__init__(self.message)

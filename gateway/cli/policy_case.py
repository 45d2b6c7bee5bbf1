"""Cases beside the policies: given a token's policies and a request, what is expected. Read, and judged, by no I/O.

A case is one line of a table for people, so rights are written with the names of groups, and resources with the words
of the routes (`zone:{alpha}`); `names` gives ids a name. What comes of it is a token as the token API makes it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from gateway.access.compiled import compile_owner, compile_token
from gateway.access.decide import decide
from gateway.access.decision import Allow, Body, Need, ZoneAccount
from gateway.access.principal import Principal, prove
from gateway.access.question import Facts, Question, Unknown
from gateway.catalog.api import Api
from gateway.catalog.catalog import Catalog
from gateway.catalog.document import CatalogError, CatalogFault, Gathered, read_document, read_table
from gateway.catalog.line import TableLines
from gateway.catalog.route_table import Matched
from gateway.catalog.target import split_target
from gateway.catalog.template import Template
from gateway.policy_files import policy_text
from gateway.reason import Deny, Fault, Reason
from gateway.tokens import lifecycle
from gateway.tokens.condition import Address, unmap
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import ALL_PERMISSIONS
from gateway.tokens.resource import SCOPE_OF, Resource, Scope, parse_resource
from gateway.tokens.secret import make_secret, parse_secret
from gateway.tokens.summary import still_readable
from gateway.tokens.timestamp import parse_timestamp
from gateway.tokens.token import SCHEMA, Draft, Status
from gateway.tokens.validation import validate_token

ALLOW: Final = "allow"
NOW: Final = "2027-01-15T08:00:00Z"
"""When a case happens that does not say `at`."""
HERE: Final = "192.0.2.1"
"""From where a case's request comes that does not say `ip`."""
_ME: Final = "0" * 31 + "1"
_TOKEN_ID: Final = "0" * 31 + "2"
_POLICY_ID: Final = "0" * 31 + "3"
_NAMED: Final = re.compile(r"\{([a-z][a-z0-9_-]*)\}")
_ROUNDS: Final = 3
_NO_ACCOUNT: Final = {"unknown": Unknown.NOT_FOUND, "unreachable": Unknown.UNREACHABLE}
_WORDS: Final = {"zone": Scope.ZONE, "zones-of": Scope.ZONE, "account": Scope.ACCOUNT, "user": Scope.USER}

Names = tuple[str, ...]


# The file's form.


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: Annotated[Names, msgspec.Meta(min_length=1)]
    allow: Names = ()
    deny: Names = ()
    apis: Names = ()


class _RequestIp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"allowed": "in"}):
    allowed: Names = ()
    not_in: Names = ()


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    request: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]+ \S+\Z")]
    expect: str
    token: tuple[_Policy, ...] = ()
    template: str = ""
    on: Names = ()
    owner: tuple[_Policy, ...] | None = None
    acts_for: str = f"user:{_ME}"
    status: Literal["active", "disabled"] = "active"
    owner_status: Literal["active", "disabled"] = "active"
    not_before: str | None = None
    expires_on: str | None = None
    request_ip: _RequestIp | None = None
    ip: str = HERE
    at: str = NOW
    api: str = ""
    header: str = ""
    body: str = ""
    zone_account: str = ""
    leaves_write: bool = False


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    names: dict[str, str] = {}
    case: tuple[dict[str, Any], ...] = ()
    """Each is an `_Entry`, read alone."""


# What is made of it.


class Case(msgspec.Struct, frozen=True):
    """One case: `outcome` is what the policies say, `expect` what was written down."""

    name: str
    key: str
    line: int
    expect: str
    outcome: str
    """`allow`, a reason, or in words why there is neither."""
    notes: tuple[str, ...] = ()
    """What is doubtful in the token's policies."""

    @property
    def holds(self) -> bool:
        """Whether it came as expected."""
        return self.outcome == self.expect


class CaseFile(msgspec.Struct, frozen=True):
    """The cases of one file, in its order."""

    file: str
    cases: tuple[Case, ...]


class _Wrong(Exception):  # noqa: N818 - it is what is said of a case
    """The case itself says something that cannot be. One line: key, what is wrong."""


def read_cases(file: str, path: Path, catalog: Catalog) -> CaseFile:
    """The cases that stand in `path`, judged; `file` is its name in errors. Raises CatalogError, SettingsError."""
    return judge_cases(file, policy_text(path), catalog)


def judge_cases(file: str, text: str, catalog: Catalog) -> CaseFile:
    """The cases of `text` and what `catalog` says to each. Raises CatalogError with all cases that are none."""
    gathered, lines = Gathered({file: text}), TableLines(text)
    document = read_document(file, text, _File)
    found: list[Case] = []
    names: set[str] = set()
    for index, table in enumerate(document.case):
        key = f"case[{index}]"
        with gathered.faults():
            entry = read_table(file, table, _Entry, key)
            if entry.name in names:
                raise CatalogError(file, f"case {entry.name!r}: its name is taken", key)
            names.add(entry.name)
            try:
                outcome, notes = _Judge(_named(entry, document.names), catalog).judge()
            except _Wrong as wrong:
                raise CatalogError(file, f"case {entry.name!r}: {wrong}", key) from None
            found.append(Case(entry.name, key, lines.of(key), entry.expect, outcome, notes))
    gathered.end()
    return CaseFile(file, tuple(found))


def _named(entry: _Entry, names: Mapping[str, str]) -> _Entry:
    """`entry` with an id for each `{name}`."""

    def put(text: str) -> str:
        for found in _NAMED.finditer(text):
            if found[1] not in names:
                raise _Wrong(f"{{{found[1]}}} is not among the names")
        return _NAMED.sub(lambda found: names[found[1]], text)

    return msgspec.convert(_each_text(msgspec.to_builtins(entry), put), _Entry)


def _each_text(value: object, change: Callable[[str], str]) -> object:
    match value:
        case str():
            return change(value)
        case dict():
            return {key: item if key == "name" else _each_text(item, change) for key, item in value.items()}
        case list() | tuple():
            return [_each_text(item, change) for item in value]
        case _:
            return value


class _Judge:
    """One case, and the catalogue that it is judged by."""

    def __init__(self, entry: _Entry, catalog: Catalog) -> None:
        self.entry = entry
        self.catalog = catalog
        self.owner_ref = self._owner_ref()
        self.now = self._moment("at", entry.at)
        self.address = self._address()
        if entry.expect != ALLOW and entry.expect not in set(Reason):
            raise _Wrong(f"expect: {ALLOW!r} or a reason, which are: {', '.join(Reason)}")
        if bool(entry.token) == bool(entry.template):
            raise _Wrong("it has a token or a template")
        if entry.on and not entry.template:
            raise _Wrong("on: goes with a template; a policy of a token has its own")

    def judge(self) -> tuple[str, tuple[str, ...]]:
        """The outcome, and what is doubtful in the token's policies."""
        draft = self._draft(self._policies_of_token())
        if isinstance(draft, tuple):
            return self._invalid(draft), ()
        owner = self._draft(self._policies_of_owner())
        if isinstance(owner, tuple):
            raise _Wrong(f"owner: {_in_words(owner[0])}")
        notes = () if self.entry.leaves_write else tuple(still_readable(draft.policies, self.catalog.groups))
        return self._decide(draft, owner), notes

    def _invalid(self, faults: tuple[Fault, ...]) -> str:
        if self.entry.expect != Reason.INVALID_BODY:
            raise _Wrong(f"token: {_in_words(faults[0])}")
        return Reason.INVALID_BODY

    def _decide(self, draft: Draft, owner: Draft) -> str:
        method, _, path = self.entry.request.partition(" ")
        target = split_target(path.encode())
        if isinstance(target, Deny):
            return target.reason
        match = self.catalog.public.match(method, target.segments)
        api = match.route.api if isinstance(match, Matched) else None
        if self.entry.api and (api is None or api.name != self.entry.api):
            return f"no route of {self.entry.api}, but {f'of {api.name}' if api else Reason.NO_ROUTE}"
        who = self._principal(draft, owner, api)
        facts = Facts()
        for _ in range(_ROUNDS):
            match decide(Question(who, self.address, target, match, self.now, facts)):
                case Allow():
                    return ALLOW
                case Deny(reason=reason):
                    return reason
                case Need(ZoneAccount()):
                    if not self.entry.zone_account:
                        return "a question: which account is the zone in? Say zone_account"
                    account = _NO_ACCOUNT.get(self.entry.zone_account, self.entry.zone_account)
                    facts = msgspec.structs.replace(facts, account=account)
                case Need(Body()):
                    facts = msgspec.structs.replace(facts, body=self.entry.body.encode())
        return Reason.INTERNAL_ERROR

    def _principal(self, draft: Draft, owner: Draft, api: Api | None) -> Principal:
        secret = make_secret(self.owner_ref.kind, _TOKEN_ID, bytes(32))
        token = lifecycle.issue(
            msgspec.structs.replace(draft, status=Status(self.entry.status)),
            token_id=_TOKEN_ID,
            owner=self.owner_ref,
            issued_by="",
            digest=NO_PEPPERS.sign(secret),
            now=0,
        )
        ceiling = Owner(
            schema=SCHEMA,
            ref=self.owner_ref,
            name="",
            status=OwnerStatus(self.entry.owner_status),
            issued_on=0,
            modified_on=0,
            policies=owner.policies,
        )
        credential = parse_secret(secret.reveal(), self._field(api))
        who = credential and prove(credential, compile_token(token, compile_owner(ceiling)), NO_PEPPERS, self.now)
        if not isinstance(who, Principal):
            raise _Wrong("token: it does not prove itself")
        return who

    def _field(self, api: Api | None) -> str:
        """Where the request has its token: as the case says, else where the API takes one."""
        if self.entry.header:
            return self.entry.header.lower()
        return min(api.credential_fields) if api else "authorization"

    def _draft(self, policies: list[dict[str, Any]]) -> Draft | tuple[Fault, ...]:
        body: dict[str, Any] = {"name": "a case", "policies": policies}
        entry = self.entry
        body |= {key: getattr(entry, key) for key in ("not_before", "expires_on") if getattr(entry, key)}
        if entry.request_ip is not None:
            body["condition"] = {"request_ip": _lists(entry.request_ip)}
        apis = {api.name for api in self.catalog.apis}
        return validate_token(msgspec.json.encode(body), self.catalog.groups, 0, lambda: _POLICY_ID, apis=apis)

    def _policies_of_token(self) -> list[dict[str, Any]]:
        if self.entry.template:
            return self._of_template(self._template(), self.entry.on)
        return [self._policy(policy) for policy in self.entry.token]

    def _policies_of_owner(self) -> list[dict[str, Any]]:
        if self.entry.owner is not None:
            return [self._policy(policy) for policy in self.entry.owner]
        everywhere = [("zone:*",), ("account:*",), (f"user:{self._user()}",)]
        return [self._policy(_Policy(on=on, allow=(ALL_PERMISSIONS,))) for on in everywhere]

    def _policy(self, policy: _Policy) -> dict[str, Any]:
        if bool(policy.allow) == bool(policy.deny):
            raise _Wrong("a policy has allow or deny, with the names of groups")
        resources, scopes = self._resources(policy.on)
        body = {
            "effect": "allow" if policy.allow else "deny",
            "permission_groups": [
                {"id": group_id} for name in policy.allow or policy.deny for group_id in self._groups(name, scopes)
            ],
            "resources": resources,
        }
        return body | ({"apis": list(policy.apis)} if policy.apis else {})

    def _groups(self, name: str, scopes: Iterable[Scope]) -> list[str]:
        """Ids of the groups of that name: in the scopes of the policy's resources, else wherever there is one."""
        if name.startswith("id:"):
            return [name.removeprefix("id:")]
        found = [group.id for scope in scopes if (group := self.catalog.groups.named(name, scope))]
        # A group of another scope is the token API's to refuse.
        found = found or [group.id for group in self.catalog.groups if group.name == name][:1]
        if not found:
            raise _Wrong(f"there is no permission group {name!r}")
        return found

    def _resources(self, words: Names) -> tuple[dict[str, Any], list[Scope]]:
        resources: dict[str, Any] = {}
        scopes = []
        for text in words:
            key, value = self._resource(text)
            if key in resources:
                raise _Wrong(f"on: {text!r} names what another word of the policy names: use a policy for each")
            resources[key] = value
            match parse_resource(key, value):
                case str():
                    pass  # the token API's to refuse
                case resource:
                    scopes.append(_scope(resource))
        return resources, list(dict.fromkeys(scopes))

    def _resource(self, text: str) -> tuple[str, Any]:
        kind, _, name = text.partition(":")
        if kind not in _WORDS:
            if text.startswith("com."):
                return text, "*"
            raise _Wrong(f"on: {text!r} is none of zone: zones-of: account: user: and no key of a resource")
        if kind == "zones-of":
            return f"{Scope.ACCOUNT}.{name}", {f"{Scope.ZONE}.*": "*"}
        if text == "user:self":
            name = self._user()
        return f"{_WORDS[kind]}.{name}", "*"

    def _template(self) -> Template:
        for template in self.catalog.templates:
            if template.name == self.entry.template:
                return template
        raise _Wrong(f"template: there is none called {self.entry.template!r}")

    def _of_template(self, template: Template, chosen: Names) -> list[dict[str, Any]]:
        """The policies of a token that is made of `template`, with `chosen` where it lets a person choose."""
        resources = {text: self._resource(text) for text in chosen}
        found = []
        for policy in template.policies:
            if policy.resources == "all":
                every = {Scope.ZONE: "zone:*", Scope.ACCOUNT: "account:*", Scope.USER: "user:self"}
                on = [self._resource(every[policy.scope])]
            else:
                on = [pair for pair in resources.values() if _lies_in(pair, policy.scope)]
            if not on:
                raise _Wrong(f"on: the template asks for {policy.scope.a_word}")
            found.append(
                {
                    "effect": "allow",
                    "permission_groups": [{"id": group.id} for group in policy.groups],
                    "resources": dict(on),
                }
            )
        return found

    def _owner_ref(self) -> OwnerRef:
        kind, _, name = self.entry.acts_for.partition(":")
        if kind not in set(OwnerKind) or not name:
            raise _Wrong(f"acts_for: {self.entry.acts_for!r} is none of user:ID and account:ID")
        return OwnerRef(OwnerKind(kind), name)

    def _address(self) -> Address:
        try:
            return unmap(ip_address(self.entry.ip))
        except ValueError:
            raise _Wrong(f"ip: {self.entry.ip!r} is not an address") from None

    def _user(self) -> str:
        return self.owner_ref.id if self.owner_ref.kind is OwnerKind.USER else _ME

    def _moment(self, key: str, text: str) -> int:
        moment = parse_timestamp(text)
        if moment is None:
            raise _Wrong(f"{key}: {text!r} is not a date and time, such as {NOW}")
        return moment


def _lists(request_ip: _RequestIp) -> dict[str, list[str]]:
    both = {"in": list(request_ip.allowed), "not_in": list(request_ip.not_in)}
    return {key: networks for key, networks in both.items() if networks}


def _scope(resource: Resource) -> Scope:
    return SCOPE_OF[type(resource)]


def _lies_in(pair: tuple[str, Any], scope: Scope) -> bool:
    resource = parse_resource(*pair)
    return not isinstance(resource, str) and _scope(resource) is scope


def _in_words(fault: Fault) -> str:
    return f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message


def as_fault(file: str, case: Case) -> CatalogFault:
    """A case that does not hold, as a line for people."""
    return CatalogFault(
        file, f"case {case.name!r}: expected {case.expect}, and it is {case.outcome}", case.key, case.line
    )

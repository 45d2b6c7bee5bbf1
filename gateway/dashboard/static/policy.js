// Between what the form holds and the policies of the token API, and policies in words.
//
// The form has one set of permissions for each scope and one set of resources for it: all permissions of a scope are
// given on all its included resources, and taken away on the excluded ones. A token whose policies say anything else
// (made with the API) keeps them as they are: the form then edits only what is beside them.

import { ACCOUNT, SCOPES, USER, ZONE, split } from "./names.js";

const EVERY_ZONE = `${ZONE}.*`;
const EVERY_ACCOUNT = `${ACCOUNT}.*`;
// What the server adds to a token, and what the form has fields for; the rest goes back as it came.
const NOT_CARRIED = new Set([
  ...["id", "status", "issued_on", "modified_on", "last_used_on", "owner", "issued_by", "usage", "value"],
  ...["name", "policies", "condition", "not_before", "expires_on", "limits"],
]);

export const newZone = () => ({ mode: "include", kind: "zone", id: "" });
export const newAccount = () => ({ mode: "include", kind: "account", id: "" });
export const newFilter = () => ({ operator: "in", text: "" });
export const newPermission = (scope = ZONE) => ({ scope, base: "", access: "Read" });

export function newDraft() {
  return {
    id: null,
    etag: null,
    name: "",
    permissions: [newPermission()],
    zones: [newZone()],
    accounts: [newAccount()],
    filters: [newFilter()],
    start: "",
    end: "",
    requests: "",
    period: "",
    kept: null,
    untouched: null,
    carried: {},
    was: null,
  };
}

export const uses = (draft, scope) => draft.permissions.some((permission) => permission.scope === scope);

export function fromTemplate(template) {
  const draft = newDraft();
  draft.name = template.name;
  draft.permissions = [];
  for (const policy of template.policies) {
    for (const group of policy.permission_groups) draft.permissions.push({ scope: policy.scope, ...split(group.name) });
    if (policy.resources === "all" && policy.scope === ZONE) draft.zones = [{ mode: "include", kind: "all", id: "" }];
    if (policy.resources === "all" && policy.scope === ACCOUNT) draft.accounts = [{ mode: "include", kind: "all", id: "" }];
  }
  return draft;
}

// The resource key and value of one row.
export function resourceOf(row, scope) {
  if (scope === ACCOUNT) return row.kind === "all" ? [EVERY_ACCOUNT, "*"] : [`${ACCOUNT}.${row.id.trim()}`, "*"];
  if (row.kind === "all") return [EVERY_ZONE, "*"];
  if (row.kind === "zone") return [`${ZONE}.${row.id.trim()}`, "*"];
  return [`${ACCOUNT}.${row.id.trim()}`, { [EVERY_ZONE]: "*" }];
}

const ids = (groups) => groups.map((group) => ({ id: group.id }));

// Read and Edit of each: an exclusion that left one of them would leave the resource readable.
function closing(permissions, names) {
  const found = new Map();
  for (const { scope, base } of permissions) {
    for (const access of names.accesses(scope, base)) {
      const group = names.group(scope, base, access);
      found.set(group.id, group);
    }
  }
  return [...found.values()];
}

// The policies that the form's rows make; `parts` says, for each, which group of the form it came from.
function build(draft, names) {
  const policies = [];
  const parts = [];
  const denies = [];
  for (const { value: scope } of SCOPES) {
    const permissions = draft.permissions.filter((permission) => permission.scope === scope);
    const groups = new Map();
    for (const { base, access } of permissions) {
      const group = names.group(scope, base, access);
      if (group) groups.set(group.id, group);
    }
    if (!groups.size) continue;
    if (scope === USER) {
      const resources = { [`${USER}.${names.user ?? ""}`]: "*" };
      policies.push({ effect: "allow", permission_groups: ids([...groups.values()]), resources });
      parts.push("permissions");
      continue;
    }
    const rows = scope === ZONE ? draft.zones : draft.accounts;
    const part = scope === ZONE ? "zones" : "accounts";
    const included = rows.filter((row) => row.mode === "include");
    const excluded = rows.filter((row) => row.mode === "exclude");
    policies.push({
      effect: "allow",
      permission_groups: ids([...groups.values()]),
      resources: Object.fromEntries(included.map((row) => resourceOf(row, scope))),
    });
    parts.push(part);
    if (excluded.length) {
      const resources = Object.fromEntries(excluded.map((row) => resourceOf(row, scope)));
      denies.push({ effect: "deny", permission_groups: ids(closing(permissions, names)), resources, part });
    }
  }
  for (const { part, ...policy } of denies) {
    policies.push(policy);
    parts.push(part);
  }
  return { policies, parts };
}

const addressesOf = (text) => text.split(/[\s,]+/).filter(Boolean);

// The whole number that was typed, perhaps as "1,200"; NaN for anything else.
export function wholeNumber(text) {
  const digits = text.replace(/[\s,]/g, "");
  return /^\d+$/.test(digits) ? Number(digits) : NaN;
}

// Policies that nobody has touched go back as they came, ids and all.
function policiesOf(draft, names) {
  if (draft.kept) return { policies: draft.kept, parts: draft.kept.map(() => "kept") };
  const built = build(draft, names);
  if (!draft.was || JSON.stringify(built.policies) !== draft.untouched) return built;
  return { policies: draft.was.policies, parts: draft.was.policies.map(partOf) };
}

function partOf({ resources }) {
  const [[key, value]] = Object.entries(resources);
  return { [ZONE]: "zones", [ACCOUNT]: "accounts" }[read(key, value).scope] ?? "permissions";
}

// The body of a token for the API, and where each pointer in a refusal belongs.
export function toBody(draft, names, dates) {
  const { policies, parts } = policiesOf(draft, names);
  const request_ip = {};
  const sources = { in: [], not_in: [] };
  draft.filters.forEach((filter, index) => {
    for (const address of addressesOf(filter.text)) {
      request_ip[filter.operator] ??= [];
      request_ip[filter.operator].push(address);
      sources[filter.operator].push(index);
    }
  });
  const body = { ...draft.carried, name: draft.name, policies };
  if (Object.keys(request_ip).length) body.condition = { request_ip };
  if (dates.start) body.not_before = dates.start;
  if (dates.end) body.expires_on = dates.end;
  if (draft.requests.trim() || draft.period.trim()) {
    body.limits = { requests: wholeNumber(draft.requests), period: wholeNumber(draft.period) };
  }
  return { body, parts, sources };
}

// The body that puts an existing token back as it is, with `changes`.
export function asBody(token, changes = {}) {
  const body = carriedBy(token);
  for (const key of ["name", "policies", "condition", "not_before", "expires_on", "limits"]) {
    if (token[key] !== undefined) body[key] = token[key];
  }
  return { ...body, ...changes };
}

const carriedBy = (token) => Object.fromEntries(Object.entries(token).filter(([key]) => !NOT_CARRIED.has(key)));

// A form that holds an existing token.
export function fromToken(token, etag, names, lastDay) {
  const draft = newDraft();
  Object.assign(draft, { id: token.id, etag, name: token.name, carried: carriedBy(token), was: token });
  const { in: only = [], not_in: never = [] } = token.condition?.request_ip ?? {};
  draft.filters = [];
  if (only.length) draft.filters.push({ operator: "in", text: only.join(", ") });
  if (never.length) draft.filters.push({ operator: "not_in", text: never.join(", ") });
  if (!draft.filters.length) draft.filters.push(newFilter());
  draft.start = token.not_before?.slice(0, 10) ?? "";
  draft.end = token.expires_on ? lastDay(token.expires_on) : "";
  draft.requests = String(token.limits?.requests ?? "");
  draft.period = String(token.limits?.period ?? "");
  const filled = fill(draft, token.policies, names);
  const built = filled ? build(draft, names).policies : [];
  if (!filled || !same(token.policies, built)) draft.kept = token.policies;
  draft.untouched = JSON.stringify(built);
  return draft;
}

// Whether `policies` went into the form's rows, perhaps wider than they are.
function fill(draft, policies, names) {
  const permissions = new Map();
  const rows = { [ZONE]: new Map(), [ACCOUNT]: new Map() };
  for (const policy of policies) {
    if (Object.keys(policy).some((key) => !["id", "effect", "permission_groups", "resources"].includes(key))) return false;
    const found = Object.entries(policy.resources).map(([key, value]) => [key, value, read(key, value)]);
    const scopes = new Set(found.map(([, , resource]) => resource.scope));
    if (scopes.size !== 1 || scopes.has(null)) return false;
    const [scope] = scopes;
    for (const { id } of policy.permission_groups) {
      const group = names.groups.get(id);
      if (!group?.scopes.includes(scope)) return false;
      if (policy.effect === "allow") permissions.set(`${scope} ${id}`, { scope, ...split(group.name) });
    }
    if (scope === USER) {
      if (found.some(([, , resource]) => resource.id !== names.user) || policy.effect !== "allow") return false;
      continue;
    }
    for (const [key, value, { kind, id }] of found) {
      const mode = policy.effect === "allow" ? "include" : "exclude";
      rows[scope].set(`${mode} ${key} ${JSON.stringify(value)}`, { mode, kind, id });
    }
  }
  draft.permissions = [...permissions.values()];
  for (const [scope, part] of [[ZONE, "zones"], [ACCOUNT, "accounts"]]) {
    if (rows[scope].size) draft[part] = [...rows[scope].values()].sort((a, b) => (a.mode < b.mode ? 1 : a.mode > b.mode ? -1 : 0));
  }
  return draft.permissions.length > 0;
}

// What a resource key says. `scope` is null for what the form has no row for.
export function read(key, value) {
  if (key === EVERY_ZONE) return { scope: ZONE, kind: "all", id: "" };
  if (key.startsWith(`${ZONE}.`)) return { scope: ZONE, kind: "zone", id: key.slice(ZONE.length + 1) };
  if (key === EVERY_ACCOUNT) return { scope: value === "*" ? ACCOUNT : null, kind: "all", id: "" };
  if (key.startsWith(`${ACCOUNT}.`)) {
    const id = key.slice(ACCOUNT.length + 1);
    if (value === "*") return { scope: ACCOUNT, kind: "account", id };
    const inner = typeof value === "object" && value ? Object.keys(value) : [];
    return { scope: inner.length === 1 && inner[0] === EVERY_ZONE ? ZONE : null, kind: "account", id };
  }
  if (key.startsWith(`${USER}.`)) return { scope: USER, kind: "user", id: key.slice(USER.length + 1) };
  return { scope: null, kind: "other", id: key };
}

function pairs(policies) {
  const allowed = new Set();
  const taken = new Set();
  for (const policy of policies) {
    for (const { id } of policy.permission_groups) {
      for (const [key, value] of Object.entries(policy.resources)) {
        (policy.effect === "allow" ? allowed : taken).add(`${id} ${key} ${JSON.stringify(value)}`);
      }
    }
  }
  return { allowed, taken };
}

// Whether two sets of policies give the same. What `build` takes away beside it (the Read of an excluded Edit) was
// not given either; what was taken away must stay so.
function same(stored, built) {
  const [a, b] = [pairs(stored), pairs(built)];
  const gives = a.allowed.size === b.allowed.size && [...a.allowed].every((pair) => b.allowed.has(pair));
  if (!gives || ![...a.taken].every((pair) => b.taken.has(pair))) return false;
  const given = new Set([...a.allowed].map((pair) => pair.split(" ", 1)[0]));
  return [...b.taken].every((pair) => a.taken.has(pair) || !given.has(pair.split(" ", 1)[0]));
}

// In words: one line for each allow, with what is taken away from all of it; then what is taken away from a part.
// A line is { effect, permissions: [{base, access}], resources: [word], except: [word], more: text }, where a word is
// { before, name }.
export function lines(policies, names) {
  const shown = [];
  const denies = policies.filter((policy) => policy.effect === "deny").map((policy) => ({ policy, used: false }));
  for (const policy of policies) {
    if (policy.effect === "deny") continue;
    const except = [];
    for (const deny of denies) {
      if (!covers(deny.policy, policy)) continue;
      deny.used = true;
      except.push(...words(deny.policy.resources, names));
    }
    shown.push({ ...line(policy, names), except });
  }
  for (const { policy, used } of denies) if (!used) shown.push({ ...line(policy, names), except: [] });
  return shown;
}

function covers(deny, allow) {
  if (JSON.stringify(deny.apis) !== JSON.stringify(allow.apis)) return false;
  const closed = new Set(deny.permission_groups.map((group) => group.id));
  if (!allow.permission_groups.every((group) => closed.has(group.id))) return false;
  const scopes = (policy) => new Set(Object.entries(policy.resources).map(([key, value]) => read(key, value).scope));
  const mine = scopes(allow);
  return [...scopes(deny)].every((scope) => mine.has(scope));
}

function line(policy, names) {
  const permissions = policy.permission_groups.map(({ id, name }) => split(names.groups.get(id)?.name ?? name ?? id));
  const more = policy.apis?.length ? `only of ${policy.apis.join(", ")}` : "";
  return { effect: policy.effect, permissions, resources: words(policy.resources, names), more };
}

function words(resources, names) {
  return Object.entries(resources).map(([key, value]) => {
    const { scope, kind, id } = read(key, value);
    if (scope === ZONE && kind === "all") return { before: "all zones", name: "" };
    if (scope === ZONE && kind === "zone") return { before: "", name: names.zoneNames.get(id) ?? id };
    if (scope === ZONE) return { before: "all zones of ", name: names.accountNames.get(id) ?? id };
    if (scope === ACCOUNT && kind === "all") return { before: "all accounts", name: "" };
    if (scope === ACCOUNT) return { before: "account ", name: names.accountNames.get(id) ?? id };
    if (scope === USER) return { before: id === names.user ? "your user" : "user ", name: id === names.user ? "" : id };
    return { before: "", name: key };
  });
}

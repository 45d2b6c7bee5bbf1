// What ids are called: zones, accounts, permission groups, templates. Asked for once in a session.

import { api, ask, home, session } from "./api.js";

export const ZONE = "com.cloudflare.api.account.zone";
export const ACCOUNT = "com.cloudflare.api.account";
export const USER = "com.cloudflare.api.user";
export const SCOPES = [
  { value: ZONE, label: "Zone" },
  { value: ACCOUNT, label: "Account" },
  { value: USER, label: "User" },
];

let known = null;

// "DNS Write" is DNS with the access Edit; what is neither Read nor Write has one access of its own.
export function split(name) {
  if (name.endsWith(" Read")) return { base: name.slice(0, -5), access: "Read" };
  if (name.endsWith(" Write")) return { base: name.slice(0, -6), access: "Edit" };
  return { base: name, access: "" };
}

class Names {
  groups = new Map();
  byScope = new Map(SCOPES.map(({ value }) => [value, new Map()]));
  templates = [];

  constructor(resources) {
    this.zones = resources.zones ?? [];
    this.accounts = resources.accounts ?? [];
    this.incomplete = Boolean(resources.incomplete);
    this.user = session.user_id ?? resources.user?.id ?? null;
    this.zoneNames = new Map(this.zones.map((zone) => [zone.id, zone.name]));
    this.accountNames = new Map(this.accounts.map((account) => [account.id, account.name]));
  }

  take(groups, templates) {
    this.templates = templates;
    this.groups = new Map(groups.map((group) => [group.id, group]));
    for (const group of groups) {
      const { base, access } = split(group.name);
      for (const scope of group.scopes) {
        const bases = this.byScope.get(scope);
        if (!bases) continue;
        if (!bases.has(base)) bases.set(base, new Map());
        bases.get(base).set(access, group);
      }
    }
    return this;
  }

  // Text of the gateway, with names where it has ids.
  named(text) {
    return text.replace(/\b[0-9a-f]{32}\b/g, (id) => this.zoneNames.get(id) ?? this.accountNames.get(id) ?? id);
  }

  bases(scope) {
    return [...this.byScope.get(scope).keys()].sort((a, b) => a.localeCompare(b, "en"));
  }

  group(scope, base, access) {
    return this.byScope.get(scope)?.get(base)?.get(access) ?? null;
  }

  accesses(scope, base) {
    return ["Read", "Edit", ""].filter((access) => this.byScope.get(scope)?.get(base)?.has(access));
  }

  zoneOptions() {
    const seen = new Map();
    for (const { name } of this.zones) seen.set(name, (seen.get(name) ?? 0) + 1);
    return this.zones
      .map(({ id, name, api: where }) => ({ value: id, label: seen.get(name) > 1 ? `${name} (${where})` : name }))
      .sort((a, b) => a.label.localeCompare(b.label, "en"));
  }

  accountOptions() {
    return this.accounts.map(({ id, name }) => ({ value: id, label: name }));
  }
}

// Zones and accounts: what the list and a token's page need.
export async function names() {
  known ??= ask("GET", "/resources").then(({ result }) => new Names(result));
  try {
    return await known;
  } catch (error) {
    known = null;
    throw error;
  }
}

// The same, with permission groups and templates: what the form needs.
export async function catalogue() {
  const found = await names();
  if (found.groups.size) return found;
  const [groups, templates] = await Promise.all([api("GET", `${home()}/permission_groups`), ask("GET", "/templates")]);
  return found.take(groups.result, templates.result);
}

export function forget() {
  known = null;
}

// What could not be listed then can perhaps be listed now.
export async function forgetIncomplete() {
  if ((await known?.catch(() => null))?.incomplete) known = null;
}

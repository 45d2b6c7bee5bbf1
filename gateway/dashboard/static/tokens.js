// Tokens as the pages share them: calls, badges, words, and the dialogs of the row menu.

import { api, home } from "./api.js";
import { bdi, choice, field, h, modal, newId, tell } from "./dom.js";
import { asBody, lines } from "./policy.js";
import { exact, lastDay, longDate, relative, startOfDay } from "./words.js";

// The path of the owner's tokens, of one of them, or of `more` of that one.
export const path = (id = "", more = "") => `${home()}${id && `/${encodeURIComponent(id)}`}${more}`;

const PER_PAGE = 50;
const AT_ONCE = 4;

export function page(number, perPage, options) {
  const query = `?page=${number}&per_page=${perPage}&direction=desc&include_expired=true`;
  return api("GET", path() + query, undefined, options);
}

// Every token, page by page in the API's order; `each(tokens, done, total)` has them as they come.
export async function walk(each, signal) {
  const first = await page(1, PER_PAGE, { signal });
  const total = first.info.total_count;
  let done = first.result.length;
  each(first.result, done, total);
  const last = Math.ceil(total / PER_PAGE);
  for (let start = 2; start <= last; start += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, last - start + 1) }, (_, index) => start + index);
    const pages = await Promise.all(numbers.map((number) => page(number, PER_PAGE, { signal })));
    for (const { result } of pages) {
      done += result.length;
      each(result, done, total);
    }
  }
}

const STATUS = { active: "Active", disabled: "Disabled", expired: "Expired" };

export function badge(status) {
  return h("span", { class: `badge ${STATUS[status] ? status : ""}` }, STATUS[status] ?? status);
}

// "DNS Edit"
export function permission({ base, access }) {
  return h("span", { class: "chip" }, bdi(base), access && ` ${access}`);
}

const word = ({ before, name }) => [before, name && bdi(name)];

// "alpha.example, all zones of Gamma Inc"
export function listed(words, most = Infinity) {
  const shown = words.slice(0, most).flatMap((one, index) => [index ? ", " : "", ...word(one)]);
  return words.length > most ? [...shown, ` and ${words.length - most} more`] : shown;
}

// What policies give, as a list of lines.
export function policyLines(policies, names) {
  return h(
    "ul",
    { class: "grants" },
    lines(policies, names).map(({ effect, permissions, resources, except, more }) =>
      h(
        "li",
        { class: effect === "deny" ? "deny" : null },
        effect === "deny" && h("span", { class: "except" }, "except "),
        h("span", { class: "chips" }, permissions.flatMap((one) => [permission(one), " "])),
        h("span", { class: "on" }, " on ", listed(resources)),
        except.length > 0 && h("span", { class: "on" }, ", ", h("span", { class: "except" }, "except "), listed(except)),
        more && h("span", { class: "on" }, `, ${more}`),
      ),
    ),
  );
}

export function moment(value, none = "Never") {
  return value ? h("time", { datetime: value, title: exact(value) }, relative(value)) : h("span", { class: "quiet" }, none);
}

export function expiry(token) {
  if (!token.expires_on) return h("span", { class: "quiet" }, "No end");
  return h("time", { datetime: token.expires_on, title: exact(token.expires_on) }, longDate(startOfDay(lastDay(token.expires_on))));
}

const conditional = (etag) => (etag ? { headers: { "If-Match": etag } } : {});

// The entries of a token's menu. `done(changed)` comes after a change, `changed` being null for a deleted token.
export function actions(token, { view = true, done, keep }) {
  const status = token.status === "disabled" ? "Enable" : "Disable";
  return [
    view && { label: "View", act: () => (location.hash = `#/tokens/${token.id}`) },
    { label: "Edit", act: () => (location.hash = `#/tokens/${token.id}/edit`) },
    { label: "Roll", act: (button) => roll(token, button, keep) },
    { label: status, act: (button) => (status === "Enable" ? enable(token, done) : disable(token, button, done)) },
    { label: "Delete", danger: true, act: (button) => remove(token, button, done) },
  ].filter(Boolean);
}

const OVERLAPS = [
  { value: "0", label: "Stops working at once" },
  { value: "3600", label: "Works for 1 more hour" },
  { value: "86400", label: "Works for 1 more day" },
  { value: "604800", label: "Works for 7 more days" },
];

function roll(token, back, keep) {
  const old = choice(OVERLAPS, "0");
  modal({
    title: "Roll token",
    back,
    body: [
      h("p", {}, bdi(token.name), " gets a new secret. What it may do stays as it is."),
      field("Old secret", old, "Keep it working for as long as you need to replace it everywhere"),
    ],
    confirm: async () => {
      const overlap = Number(old.value);
      const { result } = await api("PUT", path(token.id, "/value"), overlap ? { overlap } : {});
      return () => {
        keep({ name: token.name, id: token.id, secret: result, rolled: true, overlap });
        if (location.hash === "#/secret") dispatchEvent(new HashChangeEvent("hashchange"));
        location.hash = "#/secret";
      };
    },
  });
}

async function setStatus(token, status) {
  const { result, etag } = await api("GET", path(token.id));
  const body = asBody(result, { status });
  return (await api("PUT", path(token.id), body, conditional(etag))).result;
}

function disable(token, back, done) {
  modal({
    title: "Disable token",
    back,
    danger: true,
    body: h("p", {}, "Requests with ", bdi(token.name), " will be refused until it is enabled again."),
    confirm: async () => {
      const changed = await setStatus(token, "disabled");
      return () => {
        tell(bdi(token.name), " is disabled");
        done(changed);
      };
    },
  });
}

// Nothing is lost by it: so nobody is asked twice.
async function enable(token, done) {
  const changed = await setStatus(token, "active");
  tell(bdi(token.name), " is enabled");
  await done(changed);
}

function remove(token, back, done) {
  modal({
    title: "Delete token",
    back,
    danger: true,
    body: h("p", {}, bdi(token.name), " stops working at once, for good. This cannot be undone."),
    confirm: async () => {
      await api("DELETE", path(token.id));
      return () => {
        tell(bdi(token.name), " is deleted");
        done(null);
      };
    },
  });
}

// The page's head: a way back, the heading, what can be done.
export function head(title, { back, lead, actions: more } = {}) {
  return h(
    "div",
    { class: "head" },
    back && h("a", { class: "back", href: back.href }, h("span", { "aria-hidden": "true" }, "← "), back.label),
    h("div", { class: "head-row" }, h("h1", { tabindex: "-1" }, title), more && h("div", { class: "actions" }, more)),
    lead && h("p", { class: "lead" }, lead),
  );
}

export function section(title, ...children) {
  const id = newId("section");
  return h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title), children);
}

// A table that scrolls in a narrow window; each row is a list of cells.
export function table(caption, titles, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, titles.map((title) => h("th", { scope: "col" }, title)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))))),
    ),
  );
}

export function addresses(only, never) {
  if (!only.length && !never.length) return "Everywhere";
  return [
    only.length > 0 && h("div", {}, "Only from ", h("span", { class: "mono" }, only.join(", "))),
    never.length > 0 && h("div", {}, only.length ? "except " : "Everywhere except ", h("span", { class: "mono" }, never.join(", "))),
  ];
}

export function factList(facts) {
  return h(
    "dl",
    { class: "facts" },
    facts.map(([term, ...words]) => h("div", {}, h("dt", {}, term), h("dd", {}, words))),
  );
}

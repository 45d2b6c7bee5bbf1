// One token: what it may do, what it was used for, what was refused, who changed it.

import { Refusal, api, ask } from "./api.js";
import { bdi, h, menu, newId, svg } from "./dom.js";
import { names } from "./names.js";
import { actions, addresses, badge, expiry, factList, head, moment, path, policyLines, section, table } from "./tokens.js";
import { exact, many, number, rate, sentence } from "./words.js";

const MOST_ENTRIES = 20;
const ACTIONS = {
  create: "Created",
  update: "Changed",
  roll: "Rolled",
  delete: "Deleted",
  denied: "Refused call",
  "sign-in": "Signed in",
  "sign-out": "Signed out",
  expire: "Ended",
  "revoke-self": "Ended by itself",
  leaked: "Disabled: its secret leaked",
};

export async function token({ view, id, guard, keep, signal }) {
  const [known, { result: found }] = await Promise.all([names(), api("GET", path(id))]);
  signal.throwIfAborted();
  const changed = (after) => {
    if (after) guard(() => token({ view, id, guard, keep, signal }));
    else location.hash = "#/";
  };
  const { in: only = [], not_in: never = [] } = found.condition?.request_ip ?? {};
  const usage = h("div", {}, waiting());
  const denials = h("div", {}, waiting());
  const audit = h("div", {}, waiting());
  document.title = `${found.name} · Zonegate`;
  view.replaceChildren(
    h(
      "div",
      { class: "page" },
      head(bdi(found.name), {
        back: { href: "#/", label: "Tokens" },
        actions: [
          h("a", { class: "button", href: `#/explain/${id}` }, "Explain a request"),
          menu(`Actions for ${found.name}`, () => actions(found, { view: false, done: changed, keep })),
        ],
      }),
      h(
        "div",
        { class: "columns" },
        h("div", {}, section("What it may do", policyLines(found.policies, known)), section("Usage", usage)),
        section(
          "Details",
          factList([
            ["Status", badge(found.status)],
            ["Addresses", addresses(only, never)],
            ["Starts", found.not_before ? h("time", { datetime: found.not_before }, exact(found.not_before)) : "At once"],
            ["Ends", expiry(found)],
            ["Rate limit", found.limits ? rate(found.limits) : "No limit of its own"],
            ["Last used", moment(found.last_used_on), found.usage?.last_address && ` from ${found.usage.last_address}`],
            ["Created", when(found.issued_on)],
            ["Changed", when(found.modified_on)],
            ["Id", h("span", { class: "mono" }, found.id)],
          ]),
        ),
      ),
      section("Last refused requests", denials),
      section("Audit", audit),
    ),
  );
  await Promise.all([
    part(usage, async () => [await series(id), routes(found.usage?.requests ?? [])]),
    part(denials, async () => refusals((await ask("GET", `/tokens/${id}/denials`)).result)),
    part(audit, async () => entries((await api("GET", `/zonegate/audit?token=${id}&per_page=${MOST_ENTRIES}`)).result)),
  ]);
}

const waiting = () => h("p", { class: "quiet" }, "Loading…");
const quiet = (text) => h("p", { class: "quiet" }, text);
const when = (value) => h("time", { datetime: value }, exact(value));

// A part of the page that cannot be had is said to be so; the others are shown all the same.
async function part(place, make) {
  try {
    const made = await make();
    place.replaceChildren(...[made].flat().filter(Boolean));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    place.replaceChildren(quiet(error.status === 403 ? "The token that you signed in with may not read this." : error.message));
  }
}

// Usage over time.

async function series(id) {
  const { result } = await ask("GET", `/tokens/${id}/usage`);
  return result.length ? plot(result) : null;
}

const WIDTH = 720;
const HEIGHT = 180;
const LEFT = 44;
const BOTTOM = 24;
const TOP = 16;

// Bars, one for each day: what was allowed, and what was refused on top of it.
function plot(days) {
  const most = Math.max(1, ...days.map(({ allowed, refused }) => allowed + refused));
  const top = ceiling(most);
  const step = (WIDTH - LEFT) / days.length;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const shapes = [];
  for (const value of [0, top / 2, top]) {
    shapes.push(svg("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value), class: "grid" }));
    const label = svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" });
    label.textContent = number(value);
    shapes.push(label);
  }
  days.forEach(({ day, allowed, refused }, index) => {
    const x = LEFT + index * step + step * 0.15;
    const width = step * 0.7;
    const bar = svg("g", {});
    const title = svg("title", {});
    title.textContent = `${day}: ${number(allowed)} allowed, ${number(refused)} refused`;
    bar.append(
      title,
      svg("rect", { x, width, y: y(allowed), height: y(0) - y(allowed), class: "allowed" }),
      svg("rect", { x, width, y: y(allowed + refused), height: y(allowed) - y(allowed + refused), class: "refused" }),
    );
    shapes.push(bar);
    if (index === 0 || index === days.length - 1 || (days.length > 10 && index === Math.floor(days.length / 2))) {
      const anchor = index === 0 ? "start" : index === days.length - 1 ? "end" : "middle";
      const at = index === 0 ? LEFT : index === days.length - 1 ? WIDTH : x + width / 2;
      const label = svg("text", { x: at, y: HEIGHT - 6, "text-anchor": anchor });
      label.textContent = day;
      shapes.push(label);
    }
  });
  const sum = (key) => days.reduce((total, one) => total + one[key], 0);
  const id = newId("plot");
  return h(
    "figure",
    { class: "plot" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": id }, ...shapes),
    h(
      "figcaption",
      { id },
      h("span", {}, h("span", { class: "key" }), `${many(sum("allowed"), "request")} allowed `),
      h("span", {}, h("span", { class: "key refused" }), `${number(sum("refused"))} refused in the last ${many(days.length, "day")}`),
    ),
  );
}

// The next 1, 2 or 5 times a power of ten, even, so that its half is a whole number.
function ceiling(value) {
  for (let size = 2; ; size *= 10) for (const times of [1, 2, 5]) if (size * times >= value) return size * times;
}

function routes(requests) {
  if (!requests.length) return quiet("Not used yet.");
  const rows = requests.filter(({ result }) => result === "allowed").sort((a, b) => b.count - a.count);
  if (!rows.length) return quiet("No request was allowed yet.");
  return table("Requests by route", ["Route", "Requests"], rows.slice(0, MOST_ENTRIES).map(({ route, count }) => [routeOf(route), number(count)]));
}

const routeOf = (route) => (route ? h("code", {}, route) : "No such route");

const reason = (name) => sentence(name.replaceAll(/[_-]/g, " "));

function refusals({ calls }) {
  if (!calls.length) return quiet("No request was refused.");
  return table(
    "Last refused requests",
    ["When", "Reason", "Request", "Address", "Times"],
    calls.slice(0, MOST_ENTRIES).map((one) => [moment(one.when), reason(one.reason), routeOf(`${one.method} ${one.path}`.trim()), one.address, number(one.times)]),
  );
}

function entries(found) {
  if (!found.length) return quiet("No changes recorded.");
  return table(
    "Changes to this token",
    ["When", "What", "By", "From"],
    found.map((entry) => {
      const { type } = entry.action;
      const by = entry.metadata.actor_token;
      const call = [entry.metadata.method, entry.metadata.path].filter(Boolean).join(" ");
      return [
        entry.when && moment(entry.when),
        [ACTIONS[type] ?? reason(type), call && [" ", h("code", {}, call)], entry.metadata.reason && ` (${reason(entry.metadata.reason).toLowerCase()})`],
        by ? h("a", { class: "mono", href: `#/tokens/${by}` }, by.slice(0, 8)) : entry.interface === "CLI" ? "An operator at the machine" : "",
        entry.actor.ip ?? "",
      ];
    }),
  );
}

// The list of tokens. Without a search it asks for the page that is shown; a search walks all pages of the API.

import { session } from "./api.js";
import { alert, bdi, choice, h, menu } from "./dom.js";
import { forgetIncomplete, names } from "./names.js";
import { lines } from "./policy.js";
import { actions, badge, expiry, head, listed, moment, page, permission, walk } from "./tokens.js";
import { many, number } from "./words.js";

const ROWS = 25;
const COLUMNS = ["Name", "Permissions", "Resources", "Status", "Last used", "Ends"];
const MOST_CHIPS = 6;
const MOST_WORDS = 4;
const STATUSES = [
  { value: "", label: "Any status" },
  { value: "active", label: "Active only" },
  { value: "disabled", label: "Disabled only" },
  { value: "expired", label: "Expired only" },
];

// What was looked for, so that the way back from a token finds the list as it was left.
const place = { search: "", status: "", page: 1 };

export function forgetPlace() {
  Object.assign(place, { search: "", status: "", page: 1 });
}

export async function list({ view, signal, guard, keep }) {
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "Name, permission or zone",
    autocomplete: "off",
    spellcheck: "false",
    value: place.search,
    oninput: () => later(() => turn({ search: search.value, page: 1 })),
  });
  const status = choice(STATUSES, place.status, (value) => turn({ status: value, page: 1 }));
  status.id = "status";
  const count = h("p", { class: "count", role: "status" });
  const body = h("div", {});
  view.replaceChildren(
    h(
      "div",
      { class: "page" },
      head("API tokens", {
        lead: "Each token may do only what its permissions say, on the resources they name.",
        actions: h("a", { class: "button primary", href: "#/new" }, "Create token"),
      }),
      h(
        "div",
        { class: "tools" },
        h("div", { class: "grow" }, h("label", { for: "search", class: "hidden" }, "Search tokens"), search),
        h("div", {}, h("label", { for: "status", class: "hidden" }, "Filter by status"), status),
      ),
      count,
      body,
    ),
  );

  let known = null;
  let timer;
  let turned = null;
  const later = (work) => {
    clearTimeout(timer);
    timer = setTimeout(work, 200);
  };
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    turned?.abort();
  });

  const turn = (change) => {
    Object.assign(place, change);
    turned?.abort();
    turned = new AbortController();
    const mine = turned;
    return guard(async () => {
      body.setAttribute("aria-busy", "true");
      try {
        if (!known) {
          await forgetIncomplete();
          known = await names();
        }
        await (place.search.trim() || place.status ? found(mine.signal) : asked(mine.signal));
      } catch (error) {
        if (error.name === "AbortError" || mine.signal.aborted) return;
        if (error.status === undefined) throw error;
        count.replaceChildren();
        body.replaceChildren(alert(error.message, h("button", { class: "button", onclick: () => turn({}) }, "Try again")));
      } finally {
        if (turned === mine) body.removeAttribute("aria-busy");
      }
    });
  };

  // One page, as the API has it.
  const asked = async (stop) => {
    const { result, info } = await page(place.page, ROWS, { signal: stop });
    if (!result.length && place.page > 1) return turn({ page: Math.max(1, info.total_pages) });
    show(result, info.total_count);
    return null;
  };

  // All tokens that fit, gathered while the pages come.
  const found = async (stop) => {
    const fitting = [];
    const words = place.search.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let drawn = 0;
    await walk((tokens, done, total) => {
      if (stop.aborted) return;
      fitting.push(...tokens.filter((token) => fits(token, words)));
      // A redraw for each of 200 pages would be felt: the first ones, then the end.
      if (drawn < ROWS * place.page) {
        show(slice(fitting), fitting.length);
        drawn = fitting.length;
      }
      if (done < total) count.textContent = `${many(fitting.length, "token")} found, ${number(done)} of ${number(total)} searched`;
    }, stop);
    if (!stop.aborted) show(slice(fitting), fitting.length);
  };

  const slice = (tokens) => tokens.slice((place.page - 1) * ROWS, place.page * ROWS);

  const fits = (token, words) => {
    if (place.status && token.status !== place.status) return false;
    const parts = lines(token.policies, known).flatMap(({ permissions, resources, except }) => [
      ...permissions.map(({ base, access }) => `${base} ${access}`),
      ...[...resources, ...except].map(({ before, name }) => before + name),
    ]);
    const text = [token.name, token.id, ...parts].join("\n").toLowerCase();
    return words.every((one) => text.includes(one));
  };

  const show = (tokens, total) => {
    const pages = Math.max(1, Math.ceil(total / ROWS));
    count.textContent = total ? many(total, "token") + (place.search || place.status ? " found" : "") : "";
    if (!total) {
      const searched = place.search || place.status;
      body.replaceChildren(h("div", { class: "empty" }, searched ? "No token fits the search." : "There are no tokens yet."));
      return;
    }
    body.replaceChildren(
      h(
        "table",
        { class: "tokens", role: "table" },
        h("caption", { class: "hidden" }, "Tokens, the newest first"),
        h(
          "thead",
          { role: "rowgroup" },
          h(
            "tr",
            { role: "row" },
            COLUMNS.map((title) => h("th", { scope: "col", role: "columnheader" }, title)),
            h("th", { scope: "col", role: "columnheader" }, h("span", { class: "hidden" }, "Actions")),
          ),
        ),
        h("tbody", { role: "rowgroup" }, tokens.map(row)),
      ),
    );
    if (pages === 1) return;
    body.append(
      h(
        "nav",
        { class: "pages", "aria-label": "Pages of tokens" },
        h("button", { class: "button", type: "button", disabled: place.page <= 1, onclick: () => move(-1) }, "Previous"),
        h("span", {}, `Page ${number(place.page)} of ${number(pages)}`),
        h("button", { class: "button", type: "button", disabled: place.page >= pages, onclick: () => move(1) }, "Next"),
      ),
    );
  };

  const move = async (step) => {
    await turn({ page: place.page + step });
    view.querySelector("h1")?.focus();
    scrollTo(0, 0);
  };

  const row = (token) => {
    const said = lines(token.policies, known);
    const gives = said.filter((line) => line.effect === "allow");
    const permissions = unique(gives.flatMap((line) => line.permissions), ({ base, access }) => `${base} ${access}`);
    const resources = unique(gives.flatMap((line) => line.resources), ({ before, name }) => before + name);
    const except = unique(
      said.flatMap((line) => (line.effect === "deny" ? line.resources : line.except)),
      ({ before, name }) => before + name,
    );
    const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, children);
    return h(
      "tr",
      { role: "row" },
      h(
        "th",
        { scope: "row", role: "rowheader", class: "name" },
        h("a", { href: `#/tokens/${token.id}` }, bdi(token.name)),
        token.id === session.token?.id && h("span", { class: "quiet small" }, " in use here"),
      ),
      cell(
        "Permissions",
        h(
          "span",
          { class: "chips" },
          permissions.slice(0, MOST_CHIPS).flatMap((one) => [permission(one), " "]),
          permissions.length > MOST_CHIPS && h("span", { class: "quiet small" }, `and ${permissions.length - MOST_CHIPS} more`),
        ),
      ),
      cell(
        "Resources",
        h(
          "span",
          {},
          listed(resources, MOST_WORDS),
          except.length > 0 && [", ", h("span", { class: "except" }, "except "), listed(except, MOST_WORDS)],
        ),
      ),
      cell("Status", badge(token.status)),
      cell("Last used", moment(token.last_used_on)),
      cell("Ends", expiry(token)),
      h("td", { role: "cell", class: "act" }, menu(`Actions for ${token.name}`, () => actions(token, { done: changed, keep }))),
    );
  };

  // The row has gone or been drawn anew: the focus goes to what is left of it.
  const changed = async (token) => {
    await turn({});
    const again = token && [...view.querySelectorAll("button.more")].find((one) => one.getAttribute("aria-label") === `Actions for ${token.name}`);
    (again || view.querySelector("h1"))?.focus();
  };

  await turn({});
}

function unique(items, key) {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}

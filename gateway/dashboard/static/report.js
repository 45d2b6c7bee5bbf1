// Tokens that nobody misses, and tokens that will be missed: unused ones, and those that end soon.

import { bdi, field, h } from "./dom.js";
import { expiry, head, moment, section, table, walk } from "./tokens.js";
import { days, many, number } from "./words.js";

const MOST = 200;

export async function report({ view, signal, guard }) {
  const tokens = [];
  const unused = numeric(90);
  const ending = numeric(30);
  const stale = h("div", {});
  const soon = h("div", {});
  const progress = h("p", { class: "count", role: "status" });

  const draw = () => {
    const now = Date.now();
    const active = tokens.filter(({ status }) => status === "active");
    const used = ({ last_used_on: last, issued_on: issued }) => Date.parse(last ?? issued);
    const old = active.filter((token) => now - used(token) >= days(value(unused))).sort((a, b) => used(a) - used(b));
    const end = ({ expires_on: on }) => Date.parse(on);
    const near = active.filter((token) => token.expires_on && end(token) - now <= days(value(ending))).sort((a, b) => end(a) - end(b));
    stale.replaceChildren(shown("Unused tokens", old, "Every active token was made or used in that time."));
    soon.replaceChildren(shown("Tokens that end soon", near, "No active token ends in that time."));
  };
  for (const control of [unused, ending]) control.addEventListener("input", draw);

  view.replaceChildren(
    h(
      "div",
      { class: "page" },
      head("Report", { lead: "Tokens that nobody uses, and tokens that have to be renewed. Disabled and expired tokens are left out." }),
      progress,
      section("Unused tokens", field("Not used for (days)", unused), stale),
      section("Ending soon", field("Ending within (days)", ending), soon),
    ),
  );
  await guard(async () => {
    await walk((more, done, total) => {
      tokens.push(...more);
      progress.textContent = done < total ? `${number(done)} of ${number(total)} tokens read` : `${many(total, "token")} checked`;
    }, signal);
    draw();
  });
}

const numeric = (value) => h("input", { type: "number", min: 0, max: 3650, step: 1, class: "days", value });
const value = (control) => Math.max(0, Number(control.value) || 0);

function shown(caption, tokens, none) {
  if (!tokens.length) return h("p", { class: "quiet" }, none);
  const rest = tokens.length - MOST;
  const rows = tokens.slice(0, MOST).map((token) => [
    h("a", { href: `#/tokens/${token.id}` }, bdi(token.name)),
    moment(token.last_used_on),
    moment(token.issued_on),
    expiry(token),
  ]);
  return h(
    "div",
    {},
    table(caption, ["Name", "Last used", "Created", "Ends"], rows),
    rest > 0 && h("p", { class: "quiet" }, `and ${many(rest, "more token")}`),
  );
}

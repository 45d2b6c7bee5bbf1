// Why a request with a token would pass or not.

import { Refusal, api, prefix } from "./api.js";
import { alert, bdi, choice, field, h, mark, once, told, unmark } from "./dom.js";
import { names } from "./names.js";
import { head, page, path, walk } from "./tokens.js";
import { sentence } from "./words.js";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"].map((value) => ({ value, label: value }));
const MOST_LISTED = 300;

export async function explain({ view, id, guard, signal }) {
  const [known, { info }] = await Promise.all([names(), page(1, 5, { signal })]);
  const tokens = [];
  if (info.total_count <= MOST_LISTED) await walk((more) => tokens.push(...more), signal);
  signal.throwIfAborted();
  const which = tokens.length
    ? choice([{ value: "", label: "Choose…" }, ...options(tokens)], id ?? "")
    : h("input", { type: "text", spellcheck: "false", autocomplete: "off", class: "mono", value: id ?? "" });
  const method = choice(METHODS, "GET");
  const target = h("input", { type: "text", spellcheck: "false", autocomplete: "off", class: "mono", value: `${prefix()}/` });
  const ip = h("input", { type: "text", spellcheck: "false", autocomplete: "off", class: "mono" });
  const body = h("textarea", { rows: 3, spellcheck: "false", class: "mono" });
  const answer = h("div", { role: "status" });
  const go = h("button", { type: "submit", class: "button primary" }, "Explain");
  const controls = { path: target, ip, method, body };
  for (const control of [which, ...Object.values(controls)]) control.addEventListener("input", () => unmark(control));

  const submit = (event) => {
    event.preventDefault();
    once(go, () =>
      guard(async () => {
        answer.replaceChildren();
        for (const control of [which, ...Object.values(controls)]) unmark(control);
        if (!which.value.trim()) {
          mark(which, "Choose a token");
          return which.focus();
        }
        const asked = { method: method.value, path: target.value.trim() };
        if (ip.value.trim()) asked.ip = ip.value.trim();
        if (body.value.trim()) asked.body = body.value;
        try {
          const { result } = await api("POST", path(which.value.trim(), "/explain"), asked);
          answer.replaceChildren(shown(result, known));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          const placed = error.faults.filter(({ source, message }) => {
            const control = controls[source.pointer.slice(1)];
            if (control) mark(control, sentence(message));
            return control;
          });
          if (placed.length) return view.querySelector("[aria-invalid]").focus();
          answer.replaceChildren(alert(error.message, told(error)));
        }
        return null;
      }),
    );
  };

  view.replaceChildren(
    h(
      "div",
      { class: "page form" },
      head("Explain", { lead: "Would this request pass, and why? It is judged, and not sent on." }),
      h(
        "form",
        { class: "card stack", novalidate: true, onsubmit: submit },
        field("Token", which),
        h("div", { class: "row request" }, field("Method", method), field("Path", target)),
        h("div", { class: "row two" }, field("Client address", ip, "Leave it empty for your own"), field("Body", body, "Only where the decision depends on it")),
        h("div", { class: "actions end" }, go),
      ),
      answer,
    ),
  );
}

// By name; those of one name are told apart by how their ids begin.
function options(tokens) {
  const alike = (name) => tokens.filter((one) => one.name === name).length > 1;
  return tokens.map(({ id, name }) => ({ value: id, label: alike(name) ? `${name} (${id.slice(0, 8)})` : name }));
}

// Policies of which the same is said are shown once.
const distinct = (policies) => [...new Map(policies.map((one) => [JSON.stringify([one.side, one.effect, one.covers, one.why]), one])).values()];

const VERDICTS = { allow: "Allowed", deny: "Refused", need: "Not decided" };

function shown({ decision, status, code, message, remedy, policies, request }, known) {
  return h(
    "section",
    { class: "card", "aria-label": "Decision" },
    h("p", { class: `verdict ${decision}` }, VERDICTS[decision]),
    h(
      "p",
      {},
      h("code", {}, `${request.method} ${request.path}`),
      ` from ${request.ip}`,
      status ? ` is answered with ${status}, code ${code}: ${message}` : message === "Allowed" ? " passes." : `: ${message}`,
    ),
    remedy && h("p", {}, h("strong", {}, "What would help: "), known.named(remedy)),
    policies.length > 0 &&
      h(
        "ul",
        { class: "reasons" },
        distinct(policies).map(({ side, effect, covers, why }) =>
          h(
            "li",
            { class: covers ? effect : null },
            h("span", { class: "side" }, side === "token" ? "Token" : "Owner", effect === "deny" ? ", exclusion" : ""),
            bdi(known.named(why)),
          ),
        ),
      ),
  );
}

// A token is made or edited: template -> form -> summary, and then its secret is shown (secret.js).

import { Refusal, api, ask } from "./api.js";
import { alert, bdi, choice, field, h, mark, newId, note, once, tell, told, unmark } from "./dom.js";
import { begin, drop, held } from "./draft.js";
import { ACCOUNT, SCOPES, ZONE, catalogue } from "./names.js";
import {
  fromTemplate,
  fromToken,
  newAccount,
  newDraft,
  newFilter,
  newPermission,
  newZone,
  resourceOf,
  toBody,
  uses,
  wholeNumber,
} from "./policy.js";
import { addresses, factList, head, path, policyLines } from "./tokens.js";
import { endOfDay, lastDay, longDate, number, rate, sentence, startOfDay, today } from "./words.js";

// Step 1: a template, or an empty form.

export async function start({ view, signal }) {
  const known = await catalogue();
  signal.throwIfAborted();
  const open = (made) => {
    begin(made);
    location.hash = "#/draft";
  };
  view.replaceChildren(
    h(
      "div",
      { class: "page" },
      head("Create token", {
        back: { href: "#/", label: "Tokens" },
        lead: "Begin with what is usually needed, and change it in the next step.",
      }),
      h(
        "ul",
        { class: "templates" },
        known.templates.map((template) => {
          const id = newId("template");
          const go = h(
            "button",
            {
              type: "button",
              class: "button",
              "aria-label": `Use template ${template.name}`,
              onclick: () => open(fromTemplate(template)),
            },
            "Use template",
          );
          return h("li", { class: "card" }, h("h2", { id }, template.name), h("p", {}, template.description), go);
        }),
        h(
          "li",
          { class: "card own" },
          h("h2", {}, "Custom"),
          h("p", {}, "Choose each permission, resource and limit yourself."),
          h("button", { type: "button", class: "button primary", onclick: () => open(newDraft()) }, "Create custom token"),
        ),
      ),
    ),
  );
}

// Step 2, for a token that exists.

export async function edit({ view, id, signal }) {
  const [known, { result, etag }] = await Promise.all([catalogue(), api("GET", path(id))]);
  signal.throwIfAborted();
  if (held.draft?.id !== id || held.draft.etag !== etag) begin(fromToken(result, etag, known, lastDay));
  location.replace("#/draft");
  view.replaceChildren();
}

// Step 2: the form.

export async function form({ view, guard, signal }) {
  const { draft } = held;
  if (!draft) return location.replace("#/new");
  const known = await catalogue();
  signal.throwIfAborted();
  const faults = h("div", {});
  const go = h("button", { type: "submit", class: "button primary" }, "Continue to summary");
  const name = bound("input", draft, "name", { type: "text", autocomplete: "off", spellcheck: "false", maxlength: 400 });
  // Which groups of resources are there turns on the permissions; they are drawn before it is known.
  let scopes = () => {};
  const permissions = rows("Permissions", "Add permission", () => draft.permissions, {
    make: () => newPermission(draft.permissions.at(-1)?.scope),
    draw: (row, redraw) => permissionRow(row, known, redraw),
    changed: () => scopes(),
    hint: "What the token may do. Edit includes reading.",
  });
  const zones = rows("Zone resources", "Add zone resource", () => draft.zones, {
    make: newZone,
    draw: (row, redraw) => resourceRow(row, ZONE_KINDS, "Zones", known, redraw),
    hint: `Where the zone permissions hold. What is excluded is taken away from what is included.${unlisted(known)}`,
  });
  const accounts = rows("Account resources", "Add account resource", () => draft.accounts, {
    make: newAccount,
    draw: (row, redraw) => resourceRow(row, ACCOUNT_KINDS, "Accounts", known, redraw),
    hint: `Where the account permissions hold.${unlisted(known)}`,
  });
  const filters = rows("Client IP address filtering", "Add IP filter", () => draft.filters, {
    make: newFilter,
    draw: filterRow,
    hint: "From where the token may be used. Leave it empty to allow every address.",
  });
  const [from, until] = ["start", "end"].map((key) => bound("input", draft, key, { type: "date" }));
  const ttl = pair(
    "TTL",
    "Dates are in UTC, and the whole of the end date is included. Leave a date empty for no limit.",
    field("Start date", from),
    field("End date", until),
  );
  const [requests, period] = ["requests", "period"].map((key) =>
    bound("input", draft, key, { type: "text", inputmode: "numeric", autocomplete: "off" }),
  );
  const limit = pair(
    "Rate limit",
    "Optional: so many requests at most in a period, such as 1,200 requests in 300 seconds.",
    field("Requests", requests),
    field("Period in seconds", period),
  );
  const controls = { name, from, until, requests, period, permissions, zones, accounts, filters };
  scopes = () => {
    zones.box.hidden = Boolean(draft.kept) || !uses(draft, ZONE);
    accounts.box.hidden = Boolean(draft.kept) || !uses(draft, ACCOUNT);
  };

  // Faults of the gateway, each beside its field; those without one above the form.
  const place = (refusal, made) => {
    const rest = [];
    const placed = new Map();
    for (const { message, source } of refusal.faults) {
      const pointer = pointed(source.pointer);
      const control = controlFor(pointer, made, draft, controls);
      if (control?.isConnected) placed.set(control, [...(placed.get(control) ?? []), about(pointer, made, message)]);
      else rest.push(sentence(message));
    }
    for (const [control, messages] of placed) mark(control, sentence([...new Set(messages)].join("; ")));
    if (rest.length || !refusal.faults.length) {
      const lines = refusal.faults.length ? rest : refusal.lines;
      faults.replaceChildren(alert(refusal.message, told({ message: refusal.message, lines })));
    }
    firstWrong();
  };
  // The same, where some fields are known to be wrong already: only what is beside those. What the gateway says of
  // policies comes of what is not chosen yet.
  const placeBeside = (refusal, made) => {
    const beside = refusal.faults.filter(({ source }) => {
      const pointer = pointed(source.pointer);
      const control = pointer[0] === "policies" ? null : controlFor(pointer, made, draft, controls);
      return control?.isConnected && !control.hasAttribute("aria-invalid");
    });
    if (beside.length) place({ faults: beside }, made);
  };
  const firstWrong = () => {
    const wrong = main.querySelector("[aria-invalid]") ?? faults.querySelector("[role=alert]");
    wrong?.scrollIntoView({ block: "center" });
    wrong?.focus?.();
  };

  const submit = (event) => {
    event.preventDefault();
    once(go, () =>
      guard(async () => {
        for (const control of main.querySelectorAll("[aria-invalid]")) unmark(control);
        faults.replaceChildren();
        const fine = check(draft, controls);
        const made = body(draft, known);
        try {
          const { result } = await ask("POST", `/summary${draft.id ? `?token_id=${draft.id}` : ""}`, made.body);
          draft.lines = result.lines;
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          if (fine) return place(error, made);
          placeBeside(error, made);
        }
        if (!fine) return firstWrong();
        location.hash = "#/draft/summary";
      }),
    );
  };

  const main = h(
    "form",
    { novalidate: true, onsubmit: submit, class: "stack" },
    h("div", { class: "card" }, field("Token name", name, "Say what will use the token, so that you know it again.")),
    draft.kept ? kept(draft, known) : [permissions.box, zones.box, accounts.box],
    filters.box,
    ttl,
    limit,
    faults,
    h("div", { class: "actions end" }, h("a", { class: "button", href: draft.id ? `#/tokens/${draft.id}` : "#/new" }, "Back"), go),
  );
  view.replaceChildren(
    h(
      "div",
      { class: "page form" },
      head(draft.id ? "Edit token" : "Create token", {
        back: { href: "#/", label: "Tokens" },
        lead: draft.id ? "Its secret stays the same: to change that, roll it." : null,
      }),
      main,
    ),
  );
  scopes();
  if (held.pending) {
    place(held.pending, body(draft, known));
    held.pending = null;
  }
}

// A control whose text is `row[key]`; what was wrong with it is forgotten once it is changed.
function bound(tag, row, key, properties) {
  const oninput = () => {
    row[key] = control.value;
    unmark(control);
  };
  const control = h(tag, { ...properties, value: row[key], oninput });
  return control;
}

// A group of the form that has two fields.
function pair(title, hint, ...fields) {
  return h("fieldset", { class: "card" }, h("legend", {}, title), h("p", { class: "hint" }, hint), h("div", { class: "row two" }, fields));
}

// The control that a pointer into the body is about; null where there is none.
function controlFor([field, ...more], made, draft, controls) {
  const { name, from, until, requests, period, permissions, filters } = controls;
  if (field === "name") return name;
  if (field === "not_before") return from;
  if (field === "expires_on") return until;
  if (field === "limits") return more[0] === "period" ? period : requests;
  if (field === "condition") {
    const rowsOf = made.sources[more[1]];
    const index = rowsOf?.[Number(more[2] ?? 0)] ?? rowsOf?.[0] ?? 0;
    return filters.control(index, "text");
  }
  if (field === "policies") {
    const part = made.parts[Number(more[0] ?? 0)];
    if (part === "kept") return null;
    if (!part || part === "permissions" || more[1] === "permission_groups") return permissions.control(0, "base");
    const scope = part === "zones" ? ZONE : ACCOUNT;
    const meant = draft[part].findIndex((one) => resourceOf(one, scope)[0] === more[2]);
    // A pointer does not echo a key that is no plain name: that was typed, and not chosen.
    const row = meant >= 0 ? meant : Math.max(0, draft[part].findIndex((one) => more[1] === "resources" && one.other));
    return controls[part].control(row, "id") ?? controls[part].control(row, "kind");
  }
  return null;
}

const unlisted = (known) => (known.incomplete ? " Not all of them could be listed: name those that are missing by their id." : "");

const pointed = (pointer) => pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));

// A field holds many addresses: which one is meant is said too.
function about([field, , list, index], made, message) {
  const address = field === "condition" ? made.body.condition?.request_ip[list]?.[Number(index)] : null;
  return address ? `${address}: ${message.charAt(0).toLowerCase()}${message.slice(1)}` : message;
}

const MOST_REQUESTS = 1000000;
const LONGEST_PERIOD = 30 * 86400;

// What can be told without the gateway: what is left out.
function check(draft, { name, from, until, requests, period, permissions, zones, accounts }) {
  let fine = true;
  const wrong = (control, message) => {
    if (!control) return;
    mark(control, message);
    fine = false;
  };
  if (!draft.name.trim()) wrong(name, "Give the token a name");
  if (!draft.kept) {
    draft.permissions.forEach((row, index) => {
      if (!row.base) wrong(permissions.control(index, "base"), "Choose a permission group");
    });
    for (const [scope, part, all] of [[ZONE, zones, draft.zones], [ACCOUNT, accounts, draft.accounts]]) {
      if (!uses(draft, scope)) continue;
      const word = scope === ZONE ? "zone" : "account";
      all.forEach((row, index) => {
        if (row.kind !== "all" && !row.id.trim()) {
          wrong(part.control(index, "id"), `Choose ${row.kind === "account" ? "an account" : "a zone"}`);
        }
      });
      if (!all.some((row) => row.mode === "include")) wrong(part.control(0, "mode"), `Include at least one ${word}`);
    }
  }
  for (const control of [from, until]) if (control.validity.badInput) wrong(control, "Give a whole date: year, month, day");
  if (draft.start && draft.end && draft.end < draft.start) wrong(until, "The end date lies before the start date");
  else if (draft.end && draft.end < today() && draft.end !== lastDayBefore(draft)) wrong(until, "The end date lies in the past");
  if (draft.requests.trim() || draft.period.trim()) {
    for (const [control, most] of [[requests, MOST_REQUESTS], [period, LONGEST_PERIOD]]) {
      const value = wholeNumber(control.value);
      if (!(value >= 1 && value <= most)) wrong(control, `Give a whole number from 1 to ${number(most)}`);
    }
  }
  return fine;
}

const lastDayBefore = (draft) => (draft.was?.expires_on ? lastDay(draft.was.expires_on) : null);

// The body for the API. A date that was not changed keeps its time of the day.
function body(draft, known) {
  const { not_before: start, expires_on: end } = draft.was ?? {};
  return toBody(draft, known, {
    start: draft.start && (start?.slice(0, 10) === draft.start ? start : startOfDay(draft.start)),
    end: draft.end && (lastDayBefore(draft) === draft.end ? end : endOfDay(draft.end)),
  });
}

function kept(draft, known) {
  return h(
    "div",
    { class: "card" },
    h("h2", {}, "Permissions"),
    h("p", { class: "hint" }, "Made with the API in a form of its own, and kept as it is. To change it, use the API or the command line."),
    policyLines(draft.kept, known),
  );
}

// A group of the form whose rows can be added and removed.
function rows(title, add, all, { make, draw, changed, hint }) {
  const list = h("div", { class: "rows" });
  const drawn = [];
  const box = h(
    "fieldset",
    { class: "card" },
    h("legend", {}, title),
    h("p", { class: "hint" }, hint),
    list,
    h(
      "button",
      {
        type: "button",
        class: "button small",
        onclick: () => {
          all().push(make());
          redraw();
          drawn.at(-1).first.focus();
        },
      },
      add,
    ),
  );
  const redraw = (focus) => {
    const many = all().length > 1;
    drawn.length = 0;
    list.replaceChildren(
      ...all().map((row, index) => {
        const one = draw(row, (key) => redraw([index, key]));
        drawn.push(one);
        const remove = h(
          "button",
          {
            type: "button",
            class: "button quiet remove",
            "aria-label": `Remove row ${index + 1} of ${title}`,
            onclick: () => {
              all().splice(index, 1);
              redraw();
              drawn[Math.max(0, index - 1)].first.focus();
            },
          },
          "Remove",
        );
        return h("div", { class: `row of-${one.fields.length}` }, one.fields, many && remove);
      }),
    );
    if (focus) drawn[focus[0]]?.controls[focus[1]]?.focus();
    changed?.();
  };
  redraw();
  return { box, control: (index, key) => drawn[index]?.controls[key] ?? null };
}

const drawnRow = (fields, controls) => ({ fields, controls, first: Object.values(controls)[0] });

function permissionRow(row, known, redraw) {
  const scope = choice(SCOPES, row.scope, (value) => {
    Object.assign(row, { scope: value, base: "", access: "Read" });
    redraw("scope");
  });
  const bases = known.bases(row.scope).map((name) => ({ value: name, label: name }));
  const base = choice([{ value: "", label: "Choose…" }, ...bases], row.base, (value) => {
    row.base = value;
    const found = known.accesses(row.scope, value);
    if (!found.includes(row.access)) [row.access = "Read"] = found;
    redraw("base");
  });
  const found = row.base ? known.accesses(row.scope, row.base) : ["Read", "Edit"];
  const access = choice(
    found.map((value) => ({ value, label: value || "Use" })),
    row.access,
    (value) => (row.access = value),
  );
  return drawnRow([field("Scope", scope), field("Permission group", base), field("Access", access)], { scope, base, access });
}

const MODES = [
  { value: "include", label: "Include" },
  { value: "exclude", label: "Exclude" },
];

// One of those with a name, or one that the lists do not have, by its id.
const OTHER = "\u0000other";

function named(row, options, word, redraw) {
  const listed = options.some(({ value }) => value === row.id);
  const other = row.other || (row.id && !listed);
  const pick = choice(
    [{ value: "", label: "Choose…" }, ...options, { value: OTHER, label: "Another one, by its id" }],
    other ? OTHER : row.id,
    (value) => {
      row.other = value === OTHER;
      row.id = row.other ? "" : value;
      redraw("id");
    },
  );
  const fields = [field(word, pick)];
  const controls = { id: pick };
  if (other) {
    const typed = bound("input", row, "id", { type: "text", autocomplete: "off", spellcheck: "false" });
    row.other = true;
    fields.push(field(`Id of the ${word.toLowerCase()}`, typed));
    controls.id = typed;
  }
  return { fields, controls };
}

const ZONE_KINDS = [
  { value: "zone", label: "Specific zone" },
  { value: "account", label: "All zones from an account" },
  { value: "all", label: "All zones" },
];

const ACCOUNT_KINDS = [
  { value: "account", label: "Specific account" },
  { value: "all", label: "All accounts" },
];

// Whether resources are included or excluded, and which ones; `label`: what they are.
function resourceRow(row, kinds, label, known, redraw) {
  const mode = choice(MODES, row.mode, (value) => (row.mode = value));
  const kind = choice(kinds, row.kind, (value) => {
    Object.assign(row, { kind: value, id: "", other: false });
    redraw("kind");
  });
  const { fields, controls } = {
    zone: () => named(row, known.zoneOptions(), "Zone", redraw),
    account: () => named(row, known.accountOptions(), "Account", redraw),
    all: () => ({ fields: [], controls: {} }),
  }[row.kind]();
  return drawnRow([field("Include or exclude", mode), field(label, kind), ...fields], { mode, kind, ...controls });
}

const OPERATORS = [
  { value: "in", label: "Is in" },
  { value: "not_in", label: "Is not in" },
];

function filterRow(row) {
  const operator = choice(OPERATORS, row.operator, (value) => (row.operator = value));
  const properties = { rows: 1, spellcheck: "false", autocomplete: "off", placeholder: "192.0.2.0/24, 2001:db8::1" };
  const text = bound("textarea", row, "text", properties);
  return drawnRow([field("Operator", operator), field("Addresses", text)], { operator, text });
}

// Step 3: the summary.

export async function summary({ view, guard, keep, signal }) {
  const { draft } = held;
  if (!draft) return location.replace("#/new");
  const known = await catalogue();
  signal.throwIfAborted();
  const made = body(draft, known);
  const faults = h("div", {});
  const store = async () => {
    faults.replaceChildren();
    try {
      if (draft.id) {
        const { result } = await api("PUT", path(draft.id), made.body, { headers: draft.etag ? { "If-Match": draft.etag } : {} });
        tell(bdi(result.name), " is saved");
        drop();
        location.hash = `#/tokens/${result.id}`;
        return;
      }
      const { result } = await api("POST", path(), made.body);
      keep({ name: result.name, id: result.id, secret: result.value });
      drop();
      location.hash = "#/secret";
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.faults.length) {
        held.pending = error;
        location.hash = "#/draft";
        return;
      }
      const box = alert(error.message, told(error));
      faults.replaceChildren(box);
      box.scrollIntoView({ block: "center" });
    }
  };
  const save = h(
    "button",
    { type: "button", class: "button primary", onclick: () => once(save, () => guard(store)) },
    draft.id ? "Save token" : "Create token",
  );
  const { in: only = [], not_in: never = [] } = made.body.condition?.request_ip ?? {};
  const facts = [
    ["Name", bdi(draft.name)],
    ["May use", policyLines(made.body.policies, known)],
    ["Addresses", addresses(only, never)],
    ["Starts", draft.start ? longDate(startOfDay(draft.start)) : "At once"],
    ["Ends", draft.end ? `${longDate(startOfDay(draft.end))}, at the end of the day (UTC)` : "Never"],
    ["Rate limit", made.body.limits ? rate(made.body.limits) : "No limit of its own"],
  ];
  const notes = (draft.lines ?? []).filter((line) => line.startsWith("note: ") || line.startsWith("may pass"));
  view.replaceChildren(
    h(
      "div",
      { class: "page form" },
      head("Summary", {
        back: { href: "#/draft", label: "Back to the form" },
        lead: draft.id ? "This is what the token will be allowed to do." : "This is what the new token will be allowed to do.",
      }),
      h("div", { class: "card" }, factList(facts), notes.map((line) => note(sentence(line.replace("note: ", ""))))),
      !draft.end && !draft.id && note("This token never expires. With an end date, a leaked secret is of no use after that day."),
      faults,
      h("div", { class: "actions end" }, h("button", { type: "button", class: "button", onclick: () => (location.hash = "#/draft") }, "Edit token"), save),
    ),
  );
}

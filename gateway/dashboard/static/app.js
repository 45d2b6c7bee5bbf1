// The pages by their address (the part behind #), the session around them, and who is signed in.

import { SignedOut, readSession, session, signIn, signOut } from "./api.js";
import { alert, bdi, field, h, note, once, tell, told, unmark } from "./dom.js";
import { forgetPlace, list } from "./list.js";
import { drop } from "./draft.js";
import { forget } from "./names.js";

const view = document.getElementById("view");
const nav = document.getElementById("nav");
const who = document.getElementById("who");

// What the first page does not need is loaded when it is needed.
// Whoever has gone on meanwhile wants to see the next page, and not this one: so each page asks `signal` before it draws.
const lazy = (file, name) => async (all) => {
  const module = await import(file);
  all.signal.throwIfAborted();
  await module[name](all);
};
const PAGES = [
  [/^#?\/?$/, list, "API tokens"],
  [/^#\/new$/, lazy("./form.js", "start"), "Create token"],
  [/^#\/draft$/, lazy("./form.js", "form"), "Token form"],
  [/^#\/draft\/summary$/, lazy("./form.js", "summary"), "Summary"],
  [/^#\/secret$/, lazy("./secret.js", "secret"), "Token secret"],
  [/^#\/tokens\/(?<id>[0-9a-f]{32})$/, lazy("./token.js", "token"), "Token"],
  [/^#\/tokens\/(?<id>[0-9a-f]{32})\/edit$/, lazy("./form.js", "edit"), "Edit token"],
  [/^#\/explain(?:\/(?<id>[0-9a-f]{32}))?$/, lazy("./explain.js", "explain"), "Explain"],
  [/^#\/report$/, lazy("./report.js", "report"), "Report"],
];

let leaving = new AbortController();
// A secret that was just made: on its page only, and in no address, storage or log.
let made = null;
const keep = (fresh) => (made = fresh);

function chrome() {
  const inside = session.signed_in;
  nav.hidden = who.hidden = !inside;
  who.replaceChildren();
  if (!inside) return;
  who.append(
    h("span", { class: "as", title: session.token?.id }, bdi(session.token?.name ?? "")),
    h("button", { type: "button", class: "button small", onclick: leave }, "Sign out"),
  );
  const here = location.hash || "#/";
  for (const link of nav.children) {
    const to = link.getAttribute("href");
    const current = to === "#/" ? !/^#\/(report|explain)/.test(here) : here.startsWith(to);
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function leave() {
  try {
    await signOut();
  } catch (error) {
    tell(error.message);
    return;
  }
  drop();
  forgetPlace();
  forget();
  made = null;
  location.hash = "#/";
  signInPage();
}

// What a page does and an action of it may fail for two reasons that are the same everywhere.
async function guard(work) {
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof SignedOut) {
      forget();
      signInPage(error.message);
      return;
    }
    fail(error);
  }
}

function fail(error) {
  if (error.status === undefined) console.error(error);
  const message = error.status === undefined ? "This page has failed. Load it again" : error.message;
  const box = alert(message, told(error), h("button", { type: "button", class: "button", onclick: show }, "Try again"));
  const page = view.querySelector(".page:not(.loading)");
  if (page) page.prepend(box);
  else view.replaceChildren(h("div", { class: "page" }, box));
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const here = location.hash;
  if (here !== "#/secret" && made) made = null;
  if (!session.signed_in) return signInPage();
  chrome();
  const found = PAGES.map(([pattern, page, title]) => [here.match(pattern), page, title]).find(([match]) => match);
  if (!found) return location.replace("#/");
  const [match, page, title] = found;
  document.title = `${title} · Zonegate`;
  view.setAttribute("aria-busy", "true");
  await guard(() => page({ view, signal, guard, keep, made, id: match.groups?.id ?? null }));
  if (signal.aborted) return;
  view.removeAttribute("aria-busy");
  const heading = view.querySelector("h1");
  if (heading && !view.contains(document.activeElement)) heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function signInPage(message) {
  leaving.abort();
  leaving = new AbortController();
  chrome();
  document.title = "Sign in · Zonegate";
  const input = h("input", {
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    autocapitalize: "off",
    class: "mono",
    required: true,
    oninput: () => unmark(input),
  });
  const faults = h("div", {});
  const go = h("button", { type: "submit", class: "button primary wide" }, "Sign in");
  const submit = (event) => {
    event.preventDefault();
    once(go, async () => {
      faults.replaceChildren();
      const value = input.value.trim();
      try {
        if (!value) throw new Error("Paste a token first");
        await signIn(value);
      } catch (error) {
        faults.replaceChildren(alert(refused(error), told(error)));
        input.setAttribute("aria-invalid", "true");
        input.focus();
        return;
      }
      input.value = "";
      forget();
      await show();
    });
  };
  view.removeAttribute("aria-busy");
  view.replaceChildren(
    h(
      "div",
      { class: "page narrow" },
      h(
        "form",
        { class: "card sign-in", novalidate: true, onsubmit: submit },
        h("h1", { tabindex: "-1" }, "Sign in"),
        h("p", { class: "lead" }, "Use an API token that has the permission API Tokens, such as the first one: zonegate init prints it."),
        message && note(message),
        field("API token", input),
        faults,
        go,
      ),
    ),
  );
  input.focus();
}

// The gateway's words are about requests; here somebody has pasted a token.
function refused(error) {
  if (error.status === 400) return "This is not an API token: a token's secret begins with zgt_ or zga_ and has no spaces in it";
  if (error.status === 403) return `This token cannot sign in here: ${error.message}`;
  return error.message;
}

async function begin() {
  view.setAttribute("aria-busy", "true");
  try {
    await readSession();
  } catch (error) {
    view.replaceChildren(
      h("div", { class: "page narrow" }, alert(error.message, h("button", { class: "button", type: "button", onclick: begin }, "Try again"))),
    );
    return;
  }
  await show();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("hashchange", show);
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  guard(() => Promise.reject(event.reason));
});
begin();

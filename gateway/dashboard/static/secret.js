// The secret of a token, once. It is nowhere but in `made`, which is dropped when the page is left.

import { session } from "./api.js";
import { bdi, copy, h, svg } from "./dom.js";
import { head, path, section } from "./tokens.js";

export function secret({ view, made }) {
  if (!made) return location.replace("#/");
  const value = h("textarea", { readonly: true, rows: 2, spellcheck: "false", id: "secret", class: "mono secret", value: made.secret, onfocus: () => value.select() });
  const verify = `${session.public_url}${path("verify")}`;
  const curl = h("pre", { tabindex: "0", "aria-label": "The command" }, `curl "${verify}" -H "Authorization: Bearer ${made.secret}"`);
  view.replaceChildren(
    h(
      "div",
      { class: "page form" },
      head(made.rolled ? "Token rolled" : "Token created", {
        back: { href: "#/", label: "Tokens" },
        lead: [bdi(made.name), made.rolled ? " has a new secret. " : " is ready. ", made.rolled && oldSecret(made.overlap)],
      }),
      h(
        "div",
        { class: "card" },
        h("label", { for: "secret" }, "Token secret"),
        h(
          "div",
          { class: "secret-row" },
          value,
          h("button", { type: "button", class: "button primary", onclick: () => copy(made.secret, value) }, "Copy"),
        ),
        h(
          "div",
          { class: "notice warn" },
          h("p", {}, h("strong", {}, "This is shown once."), " Copy it now to where it will be used. The gateway keeps only a digest of it, and nobody can show it to you again."),
        ),
      ),
      section(
        "Test this token",
        h("p", { class: "hint" }, "Paste this into a terminal; the answer says that the token is valid and active."),
        h(
          "div",
          { class: "code" },
          curl,
          h(
            "button",
            { type: "button", class: "button quiet icon", "aria-label": "Put the command on the clipboard", onclick: () => copy(curl.textContent, curl) },
            svg(
              "svg",
              { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
              svg("rect", { x: 5.5, y: 5.5, width: 8, height: 8, rx: 1.5, fill: "none", stroke: "currentColor", "stroke-width": 1.3 }),
              svg("path", { d: "M10.5 3V2.5h-8v8H3", fill: "none", stroke: "currentColor", "stroke-width": 1.3 }),
            ),
          ),
        ),
      ),
      h(
        "div",
        { class: "actions end" },
        h("a", { class: "button", href: `#/tokens/${made.id}` }, "View token"),
        h("a", { class: "button", href: "#/" }, "Done"),
      ),
    ),
  );
}

const oldSecret = (overlap) => {
  if (!overlap) return "The old one is refused from now on.";
  const hours = overlap / 3600;
  return `The old one works for ${hours === 1 ? "1 more hour" : hours === 24 ? "1 more day" : `${hours / 24} more days`}.`;
};

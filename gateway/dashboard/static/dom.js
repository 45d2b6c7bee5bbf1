// Elements, dialogs, menus, notices. Text goes into the page as text nodes and nowhere as markup: a token's name
// may be anything.

// An element. Properties that begin with "on" are listeners; null, undefined and false are left out.
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, properties, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// What somebody else has named, kept from turning round the text beside it (bidirectional controls).
export const bdi = (text) => h("bdi", {}, text);

let numbered = 0;
export const newId = (word) => `${word}-${++numbered}`;

// A labelled control; `hint` is read with it. The error's place is made when there is an error.
export function field(label, control, hint) {
  control.id ||= newId("field");
  const box = h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  if (hint) {
    const note = h("p", { class: "hint", id: newId("hint") }, hint);
    control.setAttribute("aria-describedby", note.id);
    control.dataset.hint = note.id;
    box.append(note);
  }
  return box;
}

export function choice(options, value, onchange) {
  const control = h("select", { onchange: () => onchange?.(control.value) });
  for (const { value: one, label, disabled } of options) control.append(h("option", { value: one, disabled }, label));
  control.value = value;
  return control;
}

// The control is marked as wrong, with the reason beside it.
export function mark(control, message) {
  const found = control.dataset.error && document.getElementById(control.dataset.error);
  const note = found || h("p", { class: "error", id: newId("error") });
  note.textContent = message;
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", [note.id, control.dataset.hint].filter(Boolean).join(" "));
  control.dataset.error = note.id;
  if (!found) control.after(note);
}

export function unmark(control) {
  if (control.dataset.error) document.getElementById(control.dataset.error)?.remove();
  delete control.dataset.error;
  control.removeAttribute("aria-invalid");
  if (control.dataset.hint) control.setAttribute("aria-describedby", control.dataset.hint);
  else control.removeAttribute("aria-describedby");
}

export function alert(message, ...more) {
  return h("div", { class: "notice bad", role: "alert" }, h("p", {}, message), more);
}

export const note = (...children) => h("div", { class: "notice" }, h("p", {}, children));

// What just happened, for those who see it and those who hear it.
let fading;
export function tell(...words) {
  const told = document.getElementById("told");
  told.replaceChildren(...words);
  clearTimeout(fading);
  fading = setTimeout(() => told.replaceChildren(), 4000);
}

// One click does one thing: while `work` is under way the button takes no other.
export async function once(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

// A modal dialog. `confirm` is awaited; what it throws is shown inside, and the dialog stays open.
export function modal({ title, body, confirm, danger = false, back }) {
  const id = newId("dialog");
  const faults = h("div", {});
  const cancel = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel");
  const go = h("button", { type: "submit", class: danger ? "button danger" : "button primary" }, "Confirm");
  const form = h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        once(go, async () => {
          try {
            const then = await confirm();
            dialog.close();
            then?.();
          } catch (error) {
            // Not the gateway's no to this change: whoever holds the page knows what to do (app.js).
            if (error.status === undefined) {
              dialog.close();
              throw error;
            }
            faults.replaceChildren(alert(error.message, told(error)));
          }
        });
      },
    },
    h("h2", { id }, title),
    body,
    faults,
    h("div", { class: "actions end" }, cancel, go),
  );
  const dialog = h(
    "dialog",
    {
      "aria-labelledby": id,
      onclose: () => {
        dialog.remove();
        if (back?.isConnected) back.focus();
      },
    },
    form,
  );
  document.getElementById("view").append(dialog);
  dialog.showModal();
  (form.querySelector("select, input") ?? cancel).focus();
  return dialog;
}

// The remarks of a refusal: each line once.
export function told(error) {
  const lines = [...new Set(error.lines ?? [])].filter((line) => line !== error.message);
  return lines.length ? h("ul", {}, lines.map((line) => h("li", {}, line))) : null;
}

// A menu button (WAI-ARIA: menu button): arrows move, Escape closes and gives the focus back.
export function menu(label, items) {
  const id = newId("menu");
  const button = h(
    "button",
    { type: "button", class: "more", "aria-label": label, "aria-haspopup": "menu", "aria-expanded": "false" },
    h("span", { "aria-hidden": "true" }, "⋯"),
  );
  const box = h("div", { class: "menu-box" }, button);
  let list = null;

  const close = (refocus) => {
    if (!list) return;
    list.remove();
    list = null;
    button.setAttribute("aria-expanded", "false");
    button.removeAttribute("aria-controls");
    document.removeEventListener("pointerdown", outside, true);
    if (refocus) button.focus();
  };
  const outside = (event) => {
    if (!box.contains(event.target)) close(false);
  };
  const open = (last) => {
    list = h(
      "div",
      { role: "menu", id, class: "menu", "aria-label": label },
      items().map(({ label: word, act, danger }) =>
        h(
          "button",
          {
            type: "button",
            role: "menuitem",
            tabindex: "-1",
            class: danger ? "danger" : null,
            onclick: () => {
              close(true);
              act(button);
            },
          },
          word,
        ),
      ),
    );
    box.append(list);
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", id);
    if (list.getBoundingClientRect().bottom > document.documentElement.clientHeight - 8) list.classList.add("up");
    document.addEventListener("pointerdown", outside, true);
    (last ? list.lastChild : list.firstChild).focus();
  };

  button.addEventListener("click", () => (list ? close(true) : open(false)));
  button.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      event.stopPropagation();
      if (!list) open(event.key === "ArrowUp");
    }
  });
  box.addEventListener("keydown", (event) => {
    if (!list) return;
    const entries = [...list.children];
    const at = entries.indexOf(document.activeElement);
    const to = {
      ArrowDown: (at + 1) % entries.length,
      ArrowUp: (at + entries.length - 1) % entries.length,
      Home: 0,
      End: entries.length - 1,
    }[event.key];
    if (to !== undefined && list.contains(event.target)) {
      event.preventDefault();
      entries[to].focus();
    } else if (event.key === "Escape") {
      event.preventDefault();
      close(true);
    } else if (event.key === "Tab") close(false);
    else if (event.key.length === 1 && event.key !== " ") {
      const letter = event.key.toLowerCase();
      const next = [...entries.slice(at + 1), ...entries].find((one) => one.textContent.toLowerCase().startsWith(letter));
      next?.focus();
    }
  });
  return box;
}

// The text is on the clipboard, or selected in `control` where the browser gives no clipboard.
export async function copy(text, control) {
  try {
    await navigator.clipboard.writeText(text);
    tell("Copied to the clipboard");
  } catch {
    if (control.select) control.select();
    else getSelection().selectAllChildren(control);
    tell("Press Ctrl+C to copy what is selected");
  }
}

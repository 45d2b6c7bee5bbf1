// The token that is being made or edited. It stays in memory until it is stored or given up, so that no refusal, outage
// or end of the session takes what was typed. `pending` is what the gateway last objected to, for the form to show.

export const held = { draft: null, pending: null };

export function begin(draft) {
  held.draft = draft;
  held.pending = null;
}

export function drop() {
  begin(null);
}

// Calls of the gateway. The session is a cookie that scripts cannot read; each change carries the CSRF token.

const HERE = "/dashboard/api";
const CHANGES = new Set(["POST", "PUT", "PATCH", "DELETE"]);

export const session = { signed_in: false, csrf: "", token: null, public_url: "", user_id: null, account_id: null };

// Why not: `message` for people, `lines` with what else was said, `faults` with a JSON pointer each.
export class Refusal extends Error {
  constructor(status, envelope) {
    const errors = envelope?.errors ?? [];
    super(errors[0]?.message ?? `The gateway answered with status ${status}`);
    this.status = status;
    this.faults = errors.filter((error) => error.source?.pointer !== undefined);
    this.lines = [...errors, ...(envelope?.messages ?? [])].map((line) => line.message);
  }
}

// There is no session any more.
export class SignedOut extends Error {
  constructor() {
    super("Your session has ended. Sign in again");
  }
}

function take(found) {
  Object.assign(session, { token: null, user_id: null, account_id: null, ...found });
}

async function send(method, url, body, headers = {}, signal) {
  const all = { Accept: "application/json", ...headers };
  if (body !== undefined) all["Content-Type"] = "application/json";
  if (CHANGES.has(method)) all["X-CSRF-Token"] = session.csrf;
  let answer;
  try {
    answer = await fetch(url, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { errors: [{ message: "The gateway cannot be reached. Nothing was changed that you know of" }] });
  }
  let envelope = null;
  try {
    envelope = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!answer.ok || !envelope?.success) throw new Refusal(answer.status, envelope);
  return { result: envelope.result, info: envelope.result_info ?? null, etag: answer.headers.get("ETag") };
}

export async function readSession() {
  take((await send("GET", `${HERE}/session`)).result);
}

export async function signIn(secret) {
  const attempt = async () => take((await send("POST", `${HERE}/session`, { token: secret })).result);
  try {
    await attempt();
  } catch (error) {
    // The form stood open for longer than its CSRF token lived: with a fresh one it is asked once more.
    if (error.status !== 403) throw error;
    const old = session.csrf;
    await readSession();
    if (session.csrf === old) throw error;
    await attempt();
  }
}

export async function signOut() {
  try {
    await send("DELETE", `${HERE}/session`);
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
  }
  await readSession();
}

// The answer of the dashboard's own pages (`path` under /dashboard/api) or of the token API (under its prefix).
// Raises SignedOut when the session is over, Refusal for any other no.
async function call(method, url, body, { headers, signal } = {}) {
  try {
    return await send(method, url, body, headers, signal);
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    const old = session.csrf;
    await readSession();
    if (!session.signed_in) throw new SignedOut();
    // Another window has signed in anew: what was refused for its CSRF token did nothing, and may be asked again.
    if (CHANGES.has(method) && session.csrf !== old) return send(method, url, body, headers, signal);
    throw error;
  }
}

export const prefix = () => new URL(session.public_url, location.href).pathname.replace(/\/$/, "");
// Where the signed-in token's owner has its tokens.
export const home = () => (session.account_id ? `/accounts/${session.account_id}/tokens` : "/user/tokens");
export const ask = (method, path, body, options) => call(method, `${HERE}${path}`, body, options);
export const api = (method, path, body, options) => call(method, `${prefix()}${path}`, body, options);

// Asking the shop: the causal token goes along, so that a user's own writes are seen in every region; each answer says where it came from.

const KEPT = "ringway-shop";
/** An access token is renewed when it has only so long to live. */
const RENEW_MS = 30_000;

const state = Object.assign({ region: null, seen: null, session: null }, JSON.parse(sessionStorage.getItem(KEPT) ?? "{}"));
const listeners = new Set();
let shop = { region: "", gateways: {}, card_tokens: null };
let renewing = null;

/** What the API has answered instead. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.title);
    this.problem = problem;
  }
}

/** Learns from the gateway which regions there are. */
export async function begin() {
  const answer = await fetch("/api/shop");
  shop = await answer.json();
  if (!(state.region in shop.gateways)) state.region = shop.region;
}

export const here = () => state.region;
export const regions = () => Object.keys(shop.gateways).length ? Object.keys(shop.gateways) : [shop.region];
export const takesCards = () => shop.card_tokens != null;
export const user = () => state.session;
/** Calls with what each answer says of itself. */
export const onAnswer = (listener) => listeners.add(listener);

/** Goes on in another region, with all that was seen. */
export function move(region) {
  state.region = region;
  keep();
}

function keep() {
  sessionStorage.setItem(KEPT, JSON.stringify(state));
}

/** The gateway of the region: this page's own origin, or another region's. */
export function base() {
  return state.region === shop.region ? location.origin : shop.gateways[state.region];
}

async function send(method, path, { body, key, bearer } = {}) {
  const headers = { "ringway-report": "source" };
  if (state.seen) headers["ringway-token"] = state.seen;
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  if (key) headers["idempotency-key"] = key;
  if (body) headers["content-type"] = "application/json";
  const began = performance.now();
  const answer = await fetch(base() + path, { method, headers, body: body && JSON.stringify(body) }).catch(() => {
    throw new Refused({ title: "The shop does not answer", detail: "Try again in a moment, or go on in another region." });
  });
  const text = await answer.text();
  const took = performance.now() - began;
  if (answer.headers.has("ringway-token")) {
    state.seen = answer.headers.get("ringway-token");
    keep();
  }
  const content = text && /json/.test(answer.headers.get("content-type") ?? "") ? JSON.parse(text) : null;
  const sources = (answer.headers.get("ringway-source") ?? "").split(", ").filter(Boolean);
  if (content?.source === "read-model") sources.push("documents");
  const told = { method, path, status: answer.status, region: answer.headers.get("ringway-region") ?? state.region, sources, took };
  listeners.forEach((listener) => listener(told));
  if (!answer.ok) throw new Refused({ title: `Status ${answer.status}`, ...content });
  return content;
}

/** Asks as whoever has signed in. */
export async function ask(method, path, options = {}) {
  return send(method, path, { ...options, bearer: await access() });
}

/** A name for something that is to be done once, however often it is asked for. */
export const once = () => crypto.randomUUID();

async function access() {
  if (!state.session) return null;
  if (state.session.until - Date.now() < RENEW_MS) {
    renewing ??= renew().finally(() => { renewing = null; });
    await renewing;
  }
  return state.session?.access_token;
}

async function renew() {
  try {
    keepSession(await send("POST", "/api/v1/sessions/refresh", { body: { refresh_token: state.session.refresh_token } }));
  } catch (error) {
    if (error.problem?.status === 401) leave();
    throw error;
  }
}

function keepSession(session) {
  state.session = { ...session, until: Date.now() + session.expires_in * 1000 };
  keep();
}

function leave() {
  Object.assign(state, { session: null, seen: null });
  keep();
}

export async function signIn(email, password) {
  keepSession(await send("POST", "/api/v1/sessions", { body: { email, password } }));
}

export async function signOut() {
  const { refresh_token } = state.session;
  await send("POST", "/api/v1/sessions/end", { body: { refresh_token } }).finally(leave);
}

/** Gives the card to the payment provider, never to the shop. */
export async function cardToken(number) {
  const answer = await fetch(shop.card_tokens, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ number }),
  }).catch(() => null);
  if (!answer?.ok) throw new Refused({ title: "The payment provider does not answer", detail: "Nothing was ordered. Try again in a moment." });
  return (await answer.json()).token;
}

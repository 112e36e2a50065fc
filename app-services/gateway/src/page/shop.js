// The page: which view is shown, who is signed in, what has arrived.

import * as api from "./api.js";
import { byId, h, problem, say } from "./dom.js";
import { follow } from "./live.js";
import { account, signIn } from "./people.js";
import { home, product, search } from "./catalogue.js";
import { cart, order, orders } from "./orders.js";

/** How many answers and notifications are shown. */
const SHOWN_ANSWERS = 8;
const SHOWN_NOTICES = 10;
const SOURCES = ["memory", "redis", "replica", "primary", "documents"];

const VIEWS = { "": home, search, product, cart, orders, order, account, "sign-in": signIn };
const NEED_USER = ["cart", "orders", "order", "account"];

const counts = Object.fromEntries(SOURCES.map((source) => [source, 0]));
const live = { following: null, of: null, region: null, notices: new Set() };
let view = { end() {}, noticed() {} };
let shown = 0;

/** Where the address says one is: `#/product/ID?x=y`. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/").map(decodeURIComponent);
  return { name, id, query: new URLSearchParams(query) };
}

async function show() {
  const mine = ++shown;
  const { name, id, query } = place();
  view.end();
  view = { end() {}, noticed() {} };
  if (NEED_USER.includes(name) && !api.user()) {
    location.replace(`#/sign-in?${new URLSearchParams({ then: location.hash })}`);
    return;
  }
  const main = byId("main");
  main.setAttribute("aria-busy", "true");
  let made;
  try {
    made = await (VIEWS[name] ?? home)({ id, query, changed });
  } catch (error) {
    made = { title: "This did not work", content: [problem(error)] };
  }
  if (mine !== shown) {
    made.end?.();
    return;
  }
  view = { end() {}, noticed() {}, ...made };
  const heading = h("h1", { tabindex: "-1" }, made.title);
  main.replaceChildren(heading, ...made.content);
  main.removeAttribute("aria-busy");
  document.title = `${made.title} – Ringway's shop`;
  byId("q").value = name === "search" ? query.get("q") ?? "" : "";
  if (mine > 1) heading.focus();
}

/** Somebody has signed in or out, gone elsewhere, or changed the cart. */
async function changed() {
  const user = api.user();
  const link = byId("account-link");
  link.textContent = user ? "Account" : "Sign in";
  link.href = user ? "#/account" : "#/sign-in";
  const who = user && `${user.user_id}`;
  if (live.of !== who || live.region !== api.here()) {
    live.following?.stop();
    if (live.of !== who) {
      live.notices.clear();
      byId("notices").replaceChildren();
    }
    Object.assign(live, { following: null, of: who, region: api.here() });
    byId("live-mode").textContent = user ? "Connecting …" : "After you have signed in, they arrive here.";
    if (user) live.following = follow(arrived, connected);
  }
  const count = byId("cart-count");
  const lines = user ? (await api.ask("GET", "/api/v1/cart").catch(() => null))?.lines ?? [] : [];
  const pieces = lines.reduce((sum, line) => sum + line.quantity, 0);
  count.hidden = pieces === 0;
  count.textContent = pieces;
}

const MODES = { socket: "Live, by WebSocket.", stream: "Live, by server-sent events.", polling: "By asking every two seconds." };

function connected(mode) {
  byId("live-mode").textContent = MODES[mode];
  byId("live-mode").dataset.mode = mode;
}

function arrived(notice) {
  const id = notice.notification_id ?? `broadcast ${notice.sequence}`;
  if (live.notices.has(id)) return;
  live.notices.add(id);
  const about = notice.data?.order_id;
  const title = about ? h("a", { href: `#/order/${about}` }, notice.title) : notice.title;
  const at = new Date(notice.created_at).toLocaleTimeString("en");
  const item = h(notice.read ? "li" : "li.fresh", { "data-category": notice.category }, h("b", null, title), notice.body, h("div.quiet", null, at));
  const list = byId("notices");
  list.prepend(item);
  while (list.children.length > SHOWN_NOTICES) list.lastChild.remove();
  view.noticed(notice);
}

function answered({ method, path, region, sources, status, took }) {
  const words = sources.length ? sources : ["no read"];
  for (const source of sources) counts[source] += 1;
  const short = path.replace(/^\/api\/v1/, "").replace(/ticket=[^&]*/, "ticket=…").replace(/-[0-9a-f-]{22}[0-9a-f]{5}/g, "…");
  const item = h("li", { "data-path": path.split("?")[0] },
    h("code", null, `${method} ${decodeURIComponent(short)}`),
    words.map((word) => h(`span.source.${word.replace(" ", "-")}`, null, word)),
    h("span", null, region), status >= 400 && h("span", null, `status ${status}`),
    h("span.took", null, `${took.toFixed(0)} ms`));
  const list = byId("answers");
  list.prepend(item);
  while (list.children.length > SHOWN_ANSWERS) list.lastChild.remove();
  const known = SOURCES.filter((source) => counts[source] > 0);
  byId("shares").replaceChildren(...known.map((source) =>
    h("div", null, h(`dt.source.${source}`, null, source), h("dd", null, String(counts[source])))));
}

function chooseRegion() {
  const select = byId("region");
  select.replaceChildren(...api.regions().map((region) => h("option", { selected: region === api.here() }, region)));
  select.addEventListener("change", async () => {
    api.move(select.value);
    say(`You are in ${select.value}.`);
    await changed();
    await show();
  });
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#/search?${new URLSearchParams({ q: byId("q").value })}`;
});
addEventListener("hashchange", show);
api.onAnswer(answered);
await api.begin();
chooseRegion();
await changed();
await show();

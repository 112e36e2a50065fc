// The cart, checking out, and what becomes of orders.

import * as api from "./api.js";
import { field, h, money, onSubmit, problem, say } from "./dom.js";

/** The payment provider's cards for trying out. */
const CARDS = [
  ["4242 4242 4242 4242", "pays"], ["4000 0000 0000 0002", "is declined"], ["4000 0000 0000 9995", "has too little on it"],
  ["4000 0000 0000 0051", "pays late"], ["4000 0000 0000 0010", "answers twice"]];
/** Between two looks at an order: until it is decided, and afterwards. */
const LOOK_MS = 300;
const REST_MS = 5_000;

const itemPath = (line) => `/api/v1/cart/items/${encodeURIComponent(line.product_id)}`;
const sumOf = (lines) => ({
  amount_cents: lines.reduce((sum, line) => sum + line.quantity * line.unit_price.amount_cents, 0), currency: lines[0].unit_price.currency });

export async function cart({ changed }) {
  const kept = await api.ask("GET", "/api/v1/cart");
  const content = h("div");
  const draw = async ({ lines }) => {
    if (!lines.length) {
      content.replaceChildren(h("p", null, "There is nothing in it. ", h("a", { href: "#/" }, "Look around")));
      return;
    }
    const change = (line, quantity) => async () => {
      try {
        await draw(await api.ask("PUT", itemPath(line), { body: { quantity: quantity() } }));
        await changed();
      } catch (error) {
        content.prepend(problem(error));
      }
    };
    const rows = lines.map((line) => {
      const amount = h("input", { type: "number", min: 1, max: 99, value: line.quantity, "aria-label": `How many of ${line.name}` });
      amount.addEventListener("change", change(line, () => Number(amount.value) || 0));
      return h("li", null, h("a", { href: `#/product/${line.product_id}` }, line.name), amount,
        h("span.price", null, money({ ...line.unit_price, amount_cents: line.quantity * line.unit_price.amount_cents })),
        h("button.plain", { "aria-label": `Take ${line.name} out`, click: change(line, () => 0) }, "Remove"));
    });
    const checkout = await checkoutForm(lines, changed);
    content.replaceChildren(h("section.box", null, h("ul.lines", null, rows)), h("section.box", null, h("h2", null, "Check out"), h("div", null, checkout)));
  };
  await draw(kept);
  return { title: "Your cart", content: [content] };
}

async function checkoutForm(lines, changed) {
  if (!api.takesCards()) return h("p", null, "This shop doesn't say where cards can be given to its payment provider, so nothing can be ordered here.");
  const [profile, products] = await Promise.all([
    api.ask("GET", "/api/v1/users/me"), Promise.all(lines.map((line) => api.ask("GET", `/api/v1/products/${line.product_id}`)))]);
  const weight = lines.reduce((sum, line, nth) => sum + line.quantity * products[nth].weight_grams, 0);
  const sum = sumOf(lines);
  const choices = h("fieldset.wide", null, h("legend", null, "Shipping"));
  const total = h("output", { id: "total" });
  const country = h("input", { name: "country", pattern: "[A-Z]{2}", maxlength: 2, value: profile.country, autocomplete: "country", required: true });
  const card = h("input", { name: "card", inputmode: "numeric", autocomplete: "cc-number", value: CARDS[0][0], required: true });
  const form = h("form.fields", { id: "checkout" },
    field("Name", { name: "name", value: profile.name, autocomplete: "name", maxlength: 200, required: true }),
    field("Street and number", { name: "line1", autocomplete: "address-line1", maxlength: 200, required: true }),
    field("Postal code", { name: "postal_code", autocomplete: "postal-code", maxlength: 20 }),
    field("City", { name: "city", autocomplete: "address-level2", maxlength: 200, required: true }),
    h("label", null, "Country, two letters", country), choices,
    h("label", null, "Card number", card),
    h("label", null, "Or a card for trying out", h("select", { "aria-label": "A card for trying out", change({ target }) { card.value = target.value; } },
      CARDS.map(([number, what]) => h("option", { value: number }, `${number.slice(-4)} ${what}`)))),
    h("p.quiet.wide", null, "The number goes to the payment provider, never to the shop."),
    h("div.total.wide", null, "To pay", total), h("div.wide", null, h("button", null, "Order and pay")));
  let rates = [];
  const pay = () => {
    const rate = rates.find(({ service }) => service === new FormData(form).get("service"));
    const cents = rate && sum.amount_cents + rate.price.amount_cents;
    total.textContent = rate ? money({ ...sum, amount_cents: cents }) : "–";
    return cents;
  };
  const quote = async () => {
    const query = new URLSearchParams({ country: country.value, weight_grams: weight, currency: sum.currency });
    try {
      rates = await api.ask("GET", `/api/v1/shipping/rates?${query}`);
      choices.replaceChildren(choices.firstChild, ...rates.map(({ service, price, days }, nth) => h("label.choice", null,
        h("input", { type: "radio", name: "service", value: service, checked: nth === 0, change: pay }), `${service}, ${days} ${days === 1 ? "day" : "days"}, ${money(price)}`)));
    } catch (error) {
      rates = [];
      choices.replaceChildren(choices.firstChild, problem(error));
    }
    pay();
  };
  country.addEventListener("change", () => country.checkValidity() && quote());
  await quote();
  // One key for what is in the cart now: a repeated click orders once. The token of a card is asked for once as well.
  const key = api.once();
  const tokens = new Map();
  return onSubmit(form, async ({ card: number, service, ...address }) => {
    const digits = number.replace(/\D/g, "");
    if (!tokens.has(digits)) tokens.set(digits, await api.cardToken(digits));
    const body = { address, shipping_service: service, payment_token: tokens.get(digits), expected_total_cents: pay() };
    const placed = await api.ask("POST", "/api/v1/orders", { key: `${key}-${digits.slice(-4)}`, body });
    await changed();
    location.hash = `#/order/${placed.order_id}`;
  });
}

const stateOf = (order) => h(`span.state.${order.state}`, null, order.state);
const timeOf = (order) => new Date(order.placed_at).toLocaleString("en");

export async function orders() {
  const list = h("ul.orders");
  const from = h("p.quiet", { id: "history-source" });
  const add = async (before) => {
    const page = await api.ask("GET", `/api/v1/orders${before ? `?before=${before}` : ""}`);
    from.textContent = page.source === "read-model" ? "Read from the documents (read model)." : "Read from your shard.";
    list.append(...page.orders.map((order) => h("li", { "data-order": order.order_id },
      h("a", { href: `#/order/${order.order_id}` }, order.lines.map((line) => `${line.quantity} × ${line.name}`).join(", ")),
      stateOf(order), h("span.price", null, money(order.total)), h("span.quiet", null, timeOf(order)))));
    next.hidden = !page.next;
    next.onclick = () => add(page.next).catch((error) => list.before(problem(error)));
  };
  const next = h("button.plain", { hidden: true }, "Earlier orders");
  await add();
  const content = list.children.length ? [from, h("section.box", null, list, next)] : [h("p", null, "You haven't ordered anything yet.")];
  return { title: "Your orders", content };
}

const STEPS = [
  ["placed", "Ordered", "Stock, payment and parcel are being arranged."], ["confirmed", "Confirmed", "Paid, and the parcel has its label."],
  ["shipped", "Handed over to the carrier", ""], ["delivered", "Delivered", ""]];

export async function order({ id }) {
  const path = `/api/v1/orders/${encodeURIComponent(id)}`;
  const steps = h("ol.steps", { id: "steps" });
  const details = h("p.quiet");
  const told = new Map();
  let timer = null;
  let over = false;
  const draw = (order) => {
    // What has not changed is left alone, so that nothing is read out twice.
    if (told.has(order.state)) return;
    told.set(order.state, new Date().toLocaleTimeString("en"));
    say(`The order is ${order.state}`);
    const at = STEPS.findIndex(([state]) => state === order.state);
    const when = (state) => told.has(state) && h("small", null, `seen at ${told.get(state)}`);
    const reached = (nth) => order.state === "cancelled" ? nth === 0 : nth <= at;
    const items = STEPS.map(([state, title, text], nth) => {
      if (order.state === "cancelled" && nth > 0) return null;
      return h(reached(nth) ? "li.done" : nth === at + 1 ? "li.next" : "li", { "data-state": state }, title, text && h("small", null, text), when(state));
    });
    if (order.state === "cancelled") {
      items.push(h("li.failed", { "data-state": "cancelled" }, "Cancelled", h("small", null, `${order.reason ? `Because of: ${order.reason}. ` : ""}Whatever was paid is given back.`), when("cancelled")));
    }
    steps.replaceChildren(...items.filter(Boolean));
    details.textContent = order.label ? `Parcel ${order.label}` : "";
  };
  const look = async () => {
    clearTimeout(timer);
    const order = await api.ask("GET", path);
    if (over) return order;
    draw(order);
    const wait = { placed: LOOK_MS, confirmed: REST_MS, shipped: REST_MS }[order.state];
    if (wait) timer = setTimeout(() => look().catch(() => { timer = setTimeout(look, REST_MS); }), wait);
    return order;
  };
  const first = await look();
  const lines = first.lines.map((line) => h("li", null, h("a", { href: `#/product/${line.product_id}` }, line.name), h("span", null, `${line.quantity} ×`), h("span.price", null, money(line.unit_price))));
  const content = [h("div.two", null,
    h("section.box", null, h("h2", null, "Where it stands"), steps, details),
    h("section.box", null, h("h2", null, "What you ordered"), h("ul.lines.fixed", null, lines),
      h("div.total", null, "Shipping", h("span.price", null, money(first.shipping_price))), h("div.total", null, "Total", h("span.price", null, money(first.total)))))];
  return {
    title: `Order of ${timeOf(first)}`, content,
    end() { over = true; clearTimeout(timer); },
    noticed(notice) { if (notice.data?.order_id === id) look().catch(() => {}); },
  };
}

// Looking for products, and at one.

import * as api from "./api.js";
import { field, h, money, onSubmit, say } from "./dom.js";

const TILES = 8;
const PAGE = 20;

/** A coloured square in place of a picture: the same for each category. */
export function tile(category, size = "") {
  const sum = [...category].reduce((sum, letter) => sum + letter.codePointAt(0), 0);
  return h(`div.tile.tile-${sum % TILES}${size}`, { "aria-hidden": "true" }, category.slice(0, 1).toUpperCase());
}

function card(product) {
  return h("a.card", { href: `#/product/${product.product_id}` },
    tile(product.category),
    h("div.text", null, h("b", null, product.name), h("span.quiet", null, product.brand ?? product.category), h("span.price", null, money(product.price))));
}

const grid = (products) => h("ul.grid", null, products.map((product) => h("li", null, card(product))));

/** Something that the page can do without. */
const ifThere = (path) => api.ask("GET", path).catch(() => null);

export async function home() {
  const [categories, popular] = await Promise.all([ifThere("/api/v1/categories"), ifThere("/api/v1/recommendations")]);
  const chips = h("nav.chips", { "aria-label": "Categories" },
    (categories ?? []).map(({ slug, name }) => h("a", { href: `#/search?${new URLSearchParams({ category: slug, name })}` }, name)));
  const content = [chips];
  if (popular?.length) content.push(h("h2", null, "People here like"), grid(popular));
  return { title: "What may it be?", content };
}

export async function search({ query }) {
  const q = query.get("q");
  if (!q) {
    const page = await api.ask("GET", `/api/v1/categories/${encodeURIComponent(query.get("category"))}/products`);
    return { title: query.get("name") ?? query.get("category"), content: [grid(page.products)] };
  }
  const found = await api.ask("GET", `/api/v1/products?${asked(query)}`);
  const content = [
    h("p.quiet", { id: "found" }, `${found.total} found${found.matched === "similar" ? ": no product has these words, but these look like them" : ""}.`),
    facet("Category", "category", found.categories, query), facet("Brand", "brand", found.brands, query), grid(found.products)];
  if (found.total > found.products.length) content.push(more(query, found, content[3]));
  return { title: `“${q}”`, content };
}

function asked(query, offset = 0) {
  const all = new URLSearchParams({ q: query.get("q"), limit: PAGE, offset });
  for (const name of ["category", "brand"]) if (query.get(name)) all.set(name, query.get(name));
  return all;
}

function more(query, found, list) {
  let offset = found.products.length;
  const button = h("button.plain", { async click() {
    const next = await api.ask("GET", `/api/v1/products?${asked(query, offset)}`).catch(() => ({ products: [] }));
    offset += next.products.length;
    list.append(...next.products.map((product) => h("li", null, card(product))));
    if (!next.products.length || offset >= found.total) button.remove();
  } }, "More");
  return button;
}

/** What can be chosen of a facet; what is chosen can be taken back. */
function facet(title, name, values, query) {
  if (!values.length) return null;
  const chosen = query.get(name);
  const link = ({ value, count }) => {
    const to = new URLSearchParams(query);
    if (value === chosen) to.delete(name);
    else to.set(name, value);
    return h("a", { href: `#/search?${to}`, "aria-current": value === chosen && "true" }, `${value} (${count})`);
  };
  return h("div.facets", { role: "group", "aria-label": title, id: `facet-${name}` }, h("span.name", null, title), values.map(link));
}

export async function product({ id, changed }) {
  const path = `/api/v1/products/${encodeURIComponent(id)}`;
  const [item, prices, stock, together] = await Promise.all([
    api.ask("GET", path), ifThere(`${path}/prices`), ifThere(`/api/v1/stock/${encodeURIComponent(id)}`), ifThere(`/api/v1/recommendations/products/${encodeURIComponent(id)}`)]);
  const put = onSubmit(h("form.fields", { id: "put" },
    field("How many", { name: "quantity", type: "number", min: 1, max: 99, value: 1, required: true }),
    h("div.wide", null, h("button", { disabled: !item.on_sale }, item.on_sale ? "Put into the cart" : "Not on sale"))),
  async ({ quantity }) => {
    if (!api.user()) {
      location.hash = `#/sign-in?${new URLSearchParams({ then: location.hash })}`;
      return;
    }
    await api.ask("PUT", `/api/v1/cart/items/${encodeURIComponent(id)}`, { body: { quantity: Number(quantity) } });
    done.textContent = "It is in your cart. ";
    done.append(h("a", { href: "#/cart" }, "To the cart"));
    say(`${item.name} is in your cart`);
    await changed();
  });
  const done = h("p", { id: "put-done" });
  const left = stock && pieces(stock);
  const content = [h("div.two", null,
    h("div", null, tile(item.category, ".large"), h("p", null, item.description)),
    h("div.box", null, h("p.quiet", null, `${item.brand} · ${item.category} · ${item.sku} · ${item.weight_grams} g`),
      h("p.price.large-price", null, money(item.price)), left != null && h("p.quiet", null, left > 0 ? `${left} in stock` : "Sold out"),
      h("div", null, put), done, history(prices ?? [])))];
  if (together?.length) content.push(h("h2", null, "Bought together, or liked here"), grid(together));
  return { title: item.name, content };
}

function pieces(stock) {
  const rows = stock.warehouses ?? [];
  return stock.available ?? rows.reduce((sum, row) => sum + (row.available ?? 0), 0);
}

function history(prices) {
  if (prices.length < 2) return null;
  const row = ({ price, since }) => h("li", null, `${money(price)} since ${new Date(since).toLocaleDateString("en")}`);
  return h("details", null, h("summary", null, "Price history"), h("ul", null, prices.map(row)));
}

// Elements from data. All text goes in as text: nothing that a user made up is ever read as HTML.

/** An element: `h("a.card", {href: "#/"}, "text", child)`. Functions are listeners. */
export function h(name, properties, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** An amount as people write it. */
export function money({ amount_cents, currency }) {
  return new Intl.NumberFormat("en", { style: "currency", currency }).format(amount_cents / 100);
}

/** A labelled field. */
export function field(label, properties) {
  return h("label", null, label, h("input", properties));
}

/** Says something to who can't see it. */
export function say(text) {
  byId("status").textContent = text;
}

/** What went wrong, as the API has put it. */
export function problem(error) {
  const told = error.problem ?? { title: "Something went wrong", detail: String(error.message ?? error) };
  return h("div.problem", { role: "alert" }, h("strong", null, told.title ?? "No answer"), told.detail);
}

/** Runs a form: the button rests meanwhile, and what goes wrong is shown above. */
export function onSubmit(form, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = [...form.querySelectorAll("button")];
    form.parentElement.querySelectorAll(":scope > .problem").forEach((old) => old.remove());
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await work(Object.fromEntries(new FormData(form)));
    } catch (error) {
      form.before(problem(error));
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  });
  return form;
}

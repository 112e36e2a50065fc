// Registering, signing in and out.

import * as api from "./api.js";
import { field, h, onSubmit } from "./dom.js";

export async function signIn({ query, changed }) {
  const then = async () => {
    await changed();
    location.hash = query.get("then") ?? "#/";
  };
  const login = [
    field("E-mail", { name: "email", type: "email", autocomplete: "email", maxlength: 254, required: true }),
    field("Password", { name: "password", type: "password", autocomplete: "current-password", minlength: 8, maxlength: 128, required: true })];
  const known = onSubmit(h("form.fields", { id: "sign-in" }, login, h("div.wide", null, h("button", null, "Sign in"))),
    async ({ email, password }) => {
      await api.signIn(email, password);
      await then();
    });
  // The same key until it works: a repeated click registers once.
  const key = api.once();
  const fresh = onSubmit(h("form.fields", { id: "register" },
    field("Name", { name: "name", autocomplete: "name", maxlength: 200, required: true }),
    field("E-mail", { name: "email", type: "email", autocomplete: "email", maxlength: 254, required: true }),
    field("Password, at least 8 characters", { name: "password", type: "password", autocomplete: "new-password", minlength: 8, maxlength: 128, required: true }),
    field("Country, two letters", { name: "country", pattern: "[A-Z]{2}", maxlength: 2, value: "US", autocomplete: "country", required: true }),
    h("div.wide", null, h("button", null, "Register"))),
  async (person) => {
    await api.ask("POST", "/api/v1/users", { key: key + person.email, body: { ...person, home_region: api.here() } });
    await api.signIn(person.email, person.password);
    await then();
  });
  const content = [h("div.two", null,
    h("section.box", null, h("h2", null, "I have been here before"), h("div", null, known)),
    h("section.box", null, h("h2", null, "I am new"), h("div", null, fresh)))];
  return { title: "Sign in", content };
}

export async function account({ changed }) {
  const profile = await api.ask("GET", "/api/v1/users/me");
  const leave = onSubmit(h("form", { id: "sign-out" }, h("button.plain", null, "Sign out")), async () => {
    await api.signOut().catch(() => {});
    await changed();
    location.hash = "#/";
  });
  const content = [h("section.box", null,
    h("p", null, profile.name), h("p.quiet", null, `${profile.email} · ${profile.country} · home region ${profile.home_region}`), h("div", null, leave))];
  return { title: "Your account", content };
}

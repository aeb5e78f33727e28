// Signing in as an operator, and on to the page that was asked for.

import { request } from "./api.js";
import { byId } from "./dom.js";

const NAME = "operator";

/** Return where to go on: a page of ours, whatever the address says. */
function onward() {
  const asked = new URLSearchParams(location.search).get("next") ?? "/streams";
  const target = URL.canParse(asked, location.origin) ? new URL(asked, location.origin) : null;
  const ours = target?.origin === location.origin && target.pathname !== "/login";
  return ours ? target.href : "/streams";
}

function complain(name, text) {
  for (const field of ["name", "token"]) {
    const mine = field === name ? text : "";
    byId(`${field}-error`).textContent = mine;
    byId(field).setAttribute("aria-invalid", String(Boolean(mine)));
  }
  if (name) byId(name).focus();
}

async function enter(event) {
  event.preventDefault();
  const name = byId("name").value.trim();
  const token = byId("token").value.trim();
  if (!name) return complain("name", "Please type your name.");
  if (!token) return complain("token", "Please paste the token.");
  byId("enter").disabled = true;
  try {
    await request("/api/operator", { method: "POST", body: { name, token } });
    localStorage.setItem(NAME, name);
    location.replace(onward());
  } catch (error) {
    complain(error.field === "name" ? "name" : "token", error.message);
  } finally {
    byId("enter").disabled = false;
  }
}

async function open() {
  byId("entry").addEventListener("submit", enter);
  byId("name").value = localStorage.getItem(NAME) ?? "";
  byId(byId("name").value ? "token" : "name").focus();
  // A link from elsewhere comes without the cookie, though its reader may be signed in.
  const signedIn = await request("/api/operator").catch(() => null);
  if (signedIn) location.replace(onward());
}

open();

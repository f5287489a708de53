"use strict";
// The OpenAPI document of this server, for people.
const METHODS = ["get", "post", "put", "delete"];
const MOST_LABELS = 24;
let whole;

function make(tag, attributes, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  found.append(...children);
  return found;
}

// A sentence whose `names` are set as code.
const prose = text => text.split("`").map((part, i) => i % 2 ? make("code", {}, part) : part);
const step = reference => reference.slice(2).split("/").reduce((at, name) => at[name.replaceAll("~1", "/").replaceAll("~0", "~")], whole);
const resolved = part => part?.$ref ? resolved(step(part.$ref)) : part;
const one = schema => schema.oneOf ?? schema.anyOf;

// A type in a few words.
function type(schema) {
  const s = resolved(schema);
  if (s.const !== undefined) return JSON.stringify(s.const);
  if (s.enum) return s.enum.slice(0, MOST_LABELS).map(each => JSON.stringify(each)).join(" | ") + (s.enum.length > MOST_LABELS ? ` | … (${s.enum.length})` : "");
  if (one(s) && !s.properties) return one(s).map(type).join(" or ");
  if (s.type === "array") return s.prefixItems ? `[${s.prefixItems.map(type).join(", ")}]` : s.maxItems === 2 ? `pair of ${type(s.items)}` : `list of ${s.items ? type(s.items) : "anything"}`;
  const limits = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["maxLength", "characters ≤"], ["maxItems", "items ≤"]];
  const told = limits.filter(([name]) => s[name] !== undefined).map(([name, sign]) => `${sign} ${s[name]}`);
  return [[s.type ?? "anything"].flat().join(" or "), ...told].join(", ");
}

// All schemas with properties that a value may have.
function objects(schema, seen = []) {
  const s = resolved(schema);
  if (seen.includes(s)) return [];
  if (s.properties) return [s];
  return [...(one(s) ?? []), ...(s.items ? [s.items] : [])].flatMap(each => objects(each, [...seen, s]));
}

function tree(schema, seen = []) {
  const found = objects(schema);
  return found.map(s => make("ul", { class: "tree" }, ...Object.entries(s.properties).map(([name, inner]) => make("li", {},
    make("code", {}, name), (s.required ?? []).includes(name) ? " " : "? ", make("span", { class: "type" }, type(inner)),
    make("span", { class: "said" }, " ", ...prose(resolved(inner).description ?? "")),
    ...(seen.includes(s) ? [] : tree(inner, [...seen, s]))))));
}

function media(content) {
  return Object.entries(content ?? {}).flatMap(([kind, { schema, example }]) => [
    make("h3", {}, kind), ...(schema ? (objects(schema).length ? tree(schema) : [make("p", { class: "note" }, type(schema))]) : []),
    ...(example === undefined ? [] : [make("pre", {}, JSON.stringify(example, null, 1))])]);
}

function operation(path, method, told, shared) {
  const inside = make("div", { class: "inside" });
  if (told.description) inside.append(make("p", {}, told.description));
  const given = [...(shared ?? []), ...(told.parameters ?? [])].map(resolved);
  if (given.length) inside.append(make("h3", {}, "parameters"), make("ul", { class: "tree" }, ...given.map(each => make("li", {},
    make("code", {}, each.name), ` ${each.in} `, make("span", { class: "type" }, type(each.schema)), make("span", { class: "said" }, ` ${each.description ?? ""}`)))));
  if (told.requestBody) inside.append(...media(resolved(told.requestBody).content));
  inside.append(make("h3", {}, "answers"));
  for (const [status, answer] of Object.entries(told.responses)) {
    const { description, content } = resolved(answer);
    inside.append(make("div", { class: "status" }, make("b", {}, status), make("div", {}, description, ...(Number(status) < 300 ? media(content) : []))));
  }
  return make("details", { class: "card" }, make("summary", {}, make("span", { class: "method" }, method.toUpperCase()),
    make("span", { class: "path" }, path), make("span", { class: "about" }, told.summary ?? "")), inside);
}

async function show() {
  const about = document.getElementById("about"), docs = document.getElementById("docs");
  const key = document.getElementById("key").value;
  const reply = await fetch("/openapi.json", { headers: key ? { authorization: `Bearer ${key}` } : {} });
  whole = await reply.json();
  document.getElementById("key-field").hidden = reply.status !== 401;
  if (!reply.ok) { about.textContent = `${whole.title}: ${whole.detail}`; return; }
  document.getElementById("model").textContent = whole["x-polyhead-models"].map(model => model.name).join(", ");
  about.textContent = whole.info.description;
  const groups = new Map(whole.tags.map(tag => [tag.name, [make("h2", {}, tag.description)]]));
  for (const [path, told] of Object.entries(whole.paths)) {
    for (const method of METHODS) if (told[method]) groups.get(told[method].tags[0]).push(operation(path, method, told[method], told.parameters));
  }
  docs.append(...[...groups.values()].filter(group => group.length > 1).flat());
}
document.getElementById("key-field").addEventListener("submit", event => { event.preventDefault(); show(); });
show();

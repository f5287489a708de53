"use strict";
// Asks the server about the text, and shows what it answers.
const PAUSE_MS = 300; // without a key pressed, before a text is answered as it is typed
const page = { heads: {}, model: null, models: [], route: "/v1/predict", last: null, error: null, pending: null, timer: 0, shown: {}, hidden: new Set(), tab: "curl" };

const chosen = () => Object.keys(page.heads).filter(name => at("heads").querySelector(`[name="${CSS.escape(name)}"]`)?.checked);

function headers() {
  const key = at("key").value;
  return key ? { authorization: `Bearer ${key}` } : {};
}

// The inputs of this page: the text, and with a question the pair; each for the heads that read it.
function request() {
  const text = at("text").value, question = at("question").value, names = chosen();
  const wanted = kind => names.filter(name => page.heads[name].input === kind);
  const options = {};
  for (const field of at("options").querySelectorAll("input")) {
    const { head, option } = field.dataset;
    if (field.value !== "" && names.includes(head)) (options[head] ??= {})[option] = Number(field.value);
  }
  const asked = (input, heads, kind) => {
    const body = page.models.length > 1 ? { ...input, model: page.model } : input;
    const own = Object.fromEntries(Object.entries(options).filter(([head]) => heads.includes(head)));
    if (heads.length < Object.values(page.heads).filter(head => head.input === kind).length) body.heads = heads;
    return Object.keys(own).length ? { ...body, options: own } : body;
  };
  const bodies = [], texts = wanted("text"), pairs = wanted("pair");
  if (texts.length) bodies.push(asked({ text }, texts, "text"));
  if (pairs.length && question.trim()) bodies.push(asked({ query: question, text }, pairs, "pair"));
  return bodies;
}

async function run() {
  clearTimeout(page.timer);
  page.pending?.abort();
  const bodies = request(), pending = page.pending = new AbortController();
  if (!bodies.length || !at("text").value) {
    page.last = page.error = null;
    at("answers").setAttribute("aria-busy", "false");
    draw();
    return;
  }
  at("answers").setAttribute("aria-busy", "true");
  try {
    const begun = performance.now();
    const replies = await Promise.all(bodies.map(body => fetch(page.route, { method: "POST", signal: pending.signal,
      headers: { "content-type": "application/json", ...headers() }, body: JSON.stringify({ ...body, offsets: "utf16" }) })));
    const answers = await Promise.all(replies.map(reply => reply.json()));
    const took = performance.now() - begun;
    if (pending !== page.pending) return;
    const failed = answers.findIndex((answer, i) => !replies[i].ok);
    page.error = null;
    if (failed >= 0) fail({ ...answers[failed], retry: replies[failed].headers.get("retry-after") });
    const given = answers.filter((answer, i) => replies[i].ok);
    page.last = given.length ? { took, answers: given, text: at("text").value, question: at("question").value, inside: inside(replies) } : null;
  } catch (error) {
    if (error.name === "AbortError") return;
    fail({ title: words.unreachable, detail: words.unreachableNext });
  }
  at("answers").setAttribute("aria-busy", "false");
  draw();
}

// Milliseconds in the server, of the slowest reply, as it says itself.
function inside(replies) {
  const told = replies.map(reply => /dur=([\d.]+)/.exec(reply.headers.get("server-timing") ?? "")).filter(Boolean);
  return told.length ? Math.max(...told.map(found => Number(found[1]))) : null;
}

function fail(problem) {
  page.error = problem;
  if (problem.status === 401) at("key-field").hidden = false;
}

function draw() {
  const { last, error } = page;
  at("problem").hidden = !error;
  if (error) at("problem").replaceChildren(make("strong", {}, error.title ?? ""),
    make("p", {}, [error.detail, error.retry && words.retry(error.retry)].filter(Boolean).join(" ")));
  const found = last ? last.answers : [];
  const results = Object.assign({}, ...found.map(each => each.heads));
  const names = chosen();
  at("cards").replaceChildren(...columns(names.map((name, order) => ({ head: page.heads[name], order, element: card(name, page.heads[name], results[name]) }))));
  drawTiles(found);
  drawText(last, results);
  if (last && !error) at("status").textContent = words.done(Object.keys(results).length);
  drawSnippet();
}

function drawTiles(found) {
  at("tiles").hidden = !found.length;
  if (!found.length) return;
  const tokens = found.reduce((sum, each) => sum + each.tokens, 0), windows = found.reduce((sum, each) => sum + each.windows, 0);
  const tile = (number, unit) => make("span", {}, make("b", {}, number), " ", unit);
  const ms = number => number.toLocaleString(language(), { maximumFractionDigits: number < 100 ? 1 : 0 });
  at("tiles").replaceChildren(...[
    tile(ms(page.last.took), words.back),
    page.last.inside === null ? null : tile(ms(page.last.inside), words.inside),
    tile(amount(tokens), words.tokens(String(tokens))), tile(amount(windows), words.windows(String(windows))),
    found.some(each => each.truncated) ? make("span", { class: "warn" }, words.truncated) : null,
  ].filter(Boolean).flatMap(each => [each, " "]));
}

function drawText(last, results) {
  const marked = Object.entries(results).map(([name, result]) => [name, marks(name, page.heads[name], result)]);
  const spanned = Object.keys(results).filter(name => ["tokens.v1", "answer.v1", "summary.v1", "compress.v1"].includes(page.heads[name].kind) || results[name].copied?.length);
  at("reading").hidden = !last || !spanned.length;
  if (at("reading").hidden) return;
  const shown = marked.filter(([name]) => !page.hidden.has(name)).flatMap(([, all]) => all);
  const question = last.question.trim() && make("span", { class: "question" }, last.question);
  at("read").replaceChildren(...(question ? [question] : []), ...annotated(last.text, shown));
  if (at("legend").dataset.of === spanned.join()) return;
  at("legend").dataset.of = spanned.join();
  at("legend").replaceChildren(...(spanned.length < 2 ? [] : spanned.map(name => make("label", {},
    make("input", { type: "checkbox", checked: !page.hidden.has(name), onchange: event => {
      page.hidden[event.target.checked ? "delete" : "add"](name); drawText(page.last, results); } }), name))));
}

// The same request for a terminal or a program, with offsets in code points.
function snippet(kind) {
  if (kind === "json") return page.last ? page.last.answers.map(answer => JSON.stringify(answer, null, 1)).join("\n") : words.noAnswerYet;
  const bodies = request(), url = location.origin + page.route, key = at("key").value;
  const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;
  if (kind === "curl") return bodies.map(body => `curl ${quoted(url)} \\\n  -H 'content-type: application/json' \\\n${
    key ? '  -H "authorization: Bearer $API_KEY" \\\n' : ""}  -d ${quoted(JSON.stringify(body))}`).join("\n\n");
  return ["import json", ...(key ? ["import os"] : []), "from urllib.request import Request, urlopen", "",
    `headers = {"content-type": "application/json"${key ? ', "authorization": "Bearer " + os.environ["API_KEY"]' : ""}}`,
    ...bodies.map(body => `body = ${JSON.stringify(body)}\nwith urlopen(Request(${JSON.stringify(url)}, json.dumps(body).encode(), headers)) as answer:\n    print(json.load(answer)["heads"])`)].join("\n");
}

function drawSnippet() {
  at("snippet").textContent = snippet(page.tab);
  at("count").textContent = words.characters(amount([...at("text").value].length));
}

function drawHeads() {
  at("heads").replaceChildren(...Object.entries(page.heads).map(([name, head]) => make("label", { title: head.kind },
    make("input", { type: "checkbox", name, checked: true, onchange: run }), name)));
  at("question-field").hidden = !Object.values(page.heads).some(head => head.input === "pair");
  const fields = Object.entries(page.heads).flatMap(([name, head]) => Object.entries(head.options ?? {}).filter(([, schema]) => schema.type || !schema.enum).map(([option, schema]) =>
    make("label", { title: schema.description ?? "" }, `${name}: ${option}`, make("input", { type: "number", "data-head": name, "data-option": option,
      min: schema.minimum ?? 0, max: schema.maximum ?? null, step: schema.type === "integer" ? 1 : .05, oninput: typed }))));
  at("settings").hidden = !fields.length;
  at("options").replaceChildren(...fields);
}

// What heads there are says the description of the server, which is made from its manifests.
async function describe() {
  const reply = await fetch("/openapi.json", { headers: headers() });
  if (!reply.ok) { fail(await reply.json()); draw(); return; }
  page.models = (await reply.json())["x-polyhead-models"];
  [page.model] = page.models.map(model => model.name);
  choose(page.model);
}

function choose(name) {
  const model = page.models.find(each => each.name === name);
  page.model = name; page.heads = model.heads; page.last = null;
  const names = page.models.map(each => make("option", { selected: each.name === name }, each.name));
  at("model").replaceChildren(names.length > 1 ? make("select", { "aria-label": "model", onchange: event => choose(event.target.value) }, ...names) : name);
  document.title = `${name} · polyhead`;
  drawHeads(); draw();
  if (at("text").value) run();
}

function typed() {
  drawSnippet();
  clearTimeout(page.timer);
  if (at("live").checked) page.timer = setTimeout(run, PAUSE_MS);
}

function select(tab, focus) {
  page.tab = tab.id.slice(4);
  for (const each of document.querySelectorAll("[role=tab]")) {
    each.setAttribute("aria-selected", each === tab);
    each.tabIndex = each === tab ? 0 : -1;
  }
  at("snippet").setAttribute("aria-labelledby", tab.id);
  if (focus) tab.focus();
  drawSnippet();
}

async function copy() {
  try { await navigator.clipboard.writeText(at("snippet").textContent); }
  catch { getSelection().selectAllChildren(at("snippet")); document.execCommand("copy"); }  // no https
  at("copy").textContent = words.copied;
  setTimeout(() => { at("copy").textContent = words.copy; }, 1500);
}

function wire() {
  at("ask").addEventListener("submit", event => { event.preventDefault(); run(); });
  for (const id of ["text", "question", "key"]) at(id).addEventListener("input", typed);
  at("key").addEventListener("change", () => Object.keys(page.heads).length ? run() : describe());
  document.addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
  });
  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) select(tabs[(i + step + tabs.length) % tabs.length], true);
    });
  });
  at("copy").addEventListener("click", copy);
  at("language").addEventListener("click", () => { words = words === WORDS.en ? WORDS.zh : WORDS.en; speak(); draw(); });
  if (/Mac|iP/.test(navigator.platform)) at("keys").textContent = "⌘ ↵";
  speak();
  describe().catch(() => { fail({ title: words.unreachable, detail: words.unreachableNext }); draw(); });
}
wire();

"use strict";
// One card a head, and the text with what the heads have found in it.
const SHOWN = 8, MOST = 500; // labels of a head before the rest folds, and with it
const HUES = [172, 24, 262, 338, 208, 92, 48, 300, 8, 232, 140, 188];
const hue = (head, label) => HUES[Math.max(0, head.labels.indexOf(label)) % HUES.length];

function bar(label, score, { won = false, limit = null } = {}) {
  const track = make("span", { class: "track" }, make("span", { class: "fill", "--share": `${100 * score}%` }));
  if (limit !== null) track.append(make("span", { class: "limit", "--share": `${100 * limit}%`, title: percent(limit) }));
  const meter = { role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": score.toFixed(4), "aria-valuetext": percent(score) };
  return make("div", { class: won ? "bar won" : "bar", ...meter },
    make("span", { class: "what" }, label), track, make("span", { class: "much" }, percent(score)));
}

function bars(head, scores, won) {
  const order = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  const rows = order.slice(0, MOST).map(([label, score]) => bar(label, score, {
    won: won.includes(label), limit: head.thresholds ? head.thresholds[head.labels.indexOf(label)] : null,
  }));
  const found = make("div", { class: "bars" }, ...rows.slice(0, SHOWN));
  if (rows.length > SHOWN) found.append(make("details", {}, make("summary", {}, words.more(amount(order.length))), make("div", { class: "bars" }, ...rows.slice(SHOWN))));
  return found;
}

const best = (text, score, empty) => make("p", { class: "best" },
  make("strong", { class: empty ? "none" : false, dir: "auto" }, text), make("span", {}, score));

function spans(rows) {
  if (!rows.length) return make("p", { class: "note" }, words.none);
  return make("ul", { class: "spans" }, ...rows.map(({ chip = null, hue = 0, text, score, start }) => make("li",
    { tabindex: 0, onmouseenter: () => light(start, true), onmouseleave: () => light(start, false), onfocus: () => light(start, true), onblur: () => light(start, false) },
    make("span", { class: "what", dir: "auto" }, text),
    chip === null ? "" : make("span", { class: "chip", "--hue": hue }, chip),
    make("span", { class: "much" }, percent(score)))));
}

function light(start, on) {
  for (const piece of at("read").querySelectorAll(".piece")) {
    if (piece.dataset.starts.split(" ").includes(String(start))) piece.classList.toggle("lit", on);
  }
}

function drawing(vector) {
  const canvas = make("canvas", { class: "vector", width: 800, height: 100, role: "img", "aria-label": words.numbers(amount(vector.length)) });
  const pen = canvas.getContext("2d"), most = Math.max(...vector.map(Math.abs), 1e-9), wide = 800 / vector.length;
  const style = getComputedStyle(document.documentElement);
  vector.forEach((x, i) => {
    pen.fillStyle = style.getPropertyValue(x < 0 ? "--soft" : "--accent");
    pen.fillRect(i * wide, x < 0 ? 50 : 50 - 48 * x / most, Math.max(wide * .8, .6), 48 * Math.abs(x) / most);
  });
  return canvas;
}

// By kind what is said of a result; a kind of a plugin is shown as it is.
const SHOWS = {
  "classification.v1": (head, r) => [
    best(r.label ?? words.abstained, percent(r.score), r.label === null), bars(head, r.scores, [r.label])],
  "multilabel.v1": (head, r) => [
    best(r.labels.join(", ") || words.none, "", !r.labels.length), bars(head, r.scores, r.labels)],
  "regression.v1": (head, r) => [make("p", { class: "number" }, r.value.toLocaleString(language(), { maximumSignificantDigits: 6 }))],
  "tokens.v1": (head, r) => [spans(r.spans.map(s => ({ ...s, chip: s.label, hue: hue(head, s.label) })))],
  "answer.v1": (head, r) => [
    best(r.text || words.noAnswer, percent(r.score), !r.text),
    r.candidates.length > 1 ? spans(r.candidates) : "", make("div", { class: "bars" }, bar(words.noAnswerScore, r.no_answer))],
  "summary.v1": (head, r) => [spans(r.sentences)],
  "compress.v1": (head, r) => [make("p", { dir: "auto" }, r.text || words.none)],
  "generation.v1": (head, r) => [best(r.text || words.none, r.finished ? "" : words.cut, !r.text),
    r.copied.length ? make("p", { class: "note" }, words.copiedParts(amount(r.copied.length))) : ""],
  "embedding.v1": (head, r) => [drawing(r.vector), make("p", { class: "note" }, words.numbers(amount(r.vector.length)))],
};

function card(name, head, result) {
  const top = make("div", { class: "cardtop" }, make("h2", {}, name),
    make("span", { class: "kind", title: head.kind }, words.kinds[head.kind] ?? head.kind));
  if (head.calibrated) top.append(make("span", { class: "aside" }, words.calibrated));
  let inside;
  if (result === undefined) {
    const labels = head.labels.slice(0, 40).map(label => make("li", {}, label));
    if (head.labels.length > 40) labels.push(make("li", {}, `… (${amount(head.labels.length)})`));
    const about = head.input === "pair" ? words.askFirst : words.about[head.kind];
    inside = [labels.length ? make("ul", { class: "labels" }, ...labels) : "", about ? make("p", { class: "note" }, about) : ""];
  } else {
    const show = SHOWS[head.kind];
    inside = show ? show(head, result) : [make("pre", {}, JSON.stringify(result, null, 1))];
  }
  return make("section", { class: "card", "data-head": name, "aria-label": name }, top, ...inside);
}

// The cards in two columns of about the same height, which stay where they are while texts change.
function columns(cards) {
  const found = [make("div"), make("div")], high = [0, 0];
  for (const { head, element, order } of cards) {
    const i = high[0] <= high[1] ? 0 : 1;
    high[i] += { "tokens.v1": 7, "summary.v1": 6, "compress.v1": 5, "answer.v1": 5, "embedding.v1": 4 }[head.kind] ?? 4 + Math.min(SHOWN, head.labels.length);
    element.style.order = order;
    found[i].append(element);
  }
  return found;
}

// What a head has found in the text: parts with offsets in UTF-16, as strings have here.
function marks(name, head, result) {
  if (head.kind === "tokens.v1") return result.spans.map(s => ({ ...s, name, kind: "label", tag: s.label, hue: hue(head, s.label) }));
  if (head.kind === "summary.v1") return result.sentences.map(s => ({ ...s, name, kind: "sentence", hue: 45 }));
  if (head.kind === "compress.v1") return result.spans.map(s => ({ ...s, name, kind: "kept", hue: 208 }));
  if (head.kind === "generation.v1") return result.copied.map(s => ({ ...s, name, kind: "answer", hue: 208 }));
  if (head.kind === "answer.v1" && result.text) return [{ ...result, name, kind: "answer", hue: 172 }];
  return [];
}

// The text in pieces, each in the classes of the marks over it; a label's name stands at its end.
function annotated(text, found) {
  const edges = [...new Set([0, text.length, ...found.flatMap(m => [m.start, m.end])])].sort((a, b) => a - b);
  const starts = new Map(), pieces = [];
  let open = [];
  for (const mark of found) starts.set(mark.start, [...(starts.get(mark.start) ?? []), mark]);
  for (let i = 0; i + 1 < edges.length; i++) {
    open = open.filter(m => m.end > edges[i]).concat(starts.get(edges[i]) ?? []);
    const part = text.slice(edges[i], edges[i + 1]);
    if (!open.length) { pieces.push(part); continue; }
    const inner = open.reduce((a, b) => b.end - b.start < a.end - a.start ? b : a);
    const piece = make("mark", { class: `piece ${[...new Set(open.map(m => m.kind))].join(" ")}`, "--hue": inner.hue,
      "data-starts": open.map(m => m.start).join(" "), title: open.map(m => `${m.name}${m.tag ? ": " + m.tag : ""} ${m.score === undefined ? "" : percent(m.score)}`).join("\n") }, part);
    for (const m of open) if (m.tag && m.end === edges[i + 1]) piece.append(make("span", { class: "tag", "--hue": m.hue }, m.tag));
    pieces.push(piece);
  }
  return pieces;
}

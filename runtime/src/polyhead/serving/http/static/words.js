"use strict";
// What the page says, in English and Chinese; a function where a number decides the form.
const WORDS = {
  en: {
    other: "中文", title: "playground", skip: "Skip to the answers", docs: "API",
    question: "Question", questionHint: "For the heads that read a pair, e.g. “Who brought it?”",
    text: "Text", textHint: "Type or paste a text …",
    run: "Answer", live: "Answer as I type", heads: "Heads", options: "Options",
    key: "API key", keyHint: "This server asks for one; it stays in this page",
    inText: "In the text", copyAs: "Copy as", copy: "Copy", copied: "Copied",
    characters: n => `${n} ${n === "1" ? "character" : "characters"}`,
    back: "ms round trip", inside: "ms on the server",
    tokens: n => n === "1" ? "token" : "tokens", windows: n => n === "1" ? "window" : "windows",
    truncated: "the end was left out", calibrated: "calibrated", pair: "reads a pair",
    askFirst: "Ask a question to get an answer.", none: "nothing found", noAnswer: "no answer in the text",
    cut: "cut at the limit", copiedParts: n => `${n} parts copied from the text`,
    noAnswerScore: "that there is none", abstained: "no label is sure enough",
    more: n => `all ${n} labels`, numbers: n => `${n} numbers, of length 1`,
    done: n => `${n} ${n === 1 ? "head has" : "heads have"} answered.`,
    unreachable: "The server cannot be reached", unreachableNext: "Is it still running? The page asks again with the next text.",
    retry: s => `Try again in ${s} s.`, noAnswerYet: "// Answer a text first.",
    kinds: { "classification.v1": "one label", "multilabel.v1": "labels", "regression.v1": "number", "tokens.v1": "spans", "answer.v1": "answer", "summary.v1": "summary", "compress.v1": "shorter text", "embedding.v1": "vector", "generation.v1": "written text" },
    about: { "embedding.v1": "A vector, for search and clustering.", "summary.v1": "The sentences that say most.", "compress.v1": "The words that say most.", "regression.v1": "A number.", "answer.v1": "Where in the text a question is answered.", "generation.v1": "A text that is written anew; it may say what the text does not." },
  },
  zh: {
    other: "English", title: "试验台", skip: "跳到结果", docs: "接口文档",
    question: "问题", questionHint: "供读取文本对的任务头使用，例如“谁送来的？”",
    text: "文本", textHint: "输入或粘贴一段文本……",
    run: "分析", live: "边输入边分析", heads: "任务头", options: "选项",
    key: "API 密钥", keyHint: "此服务需要密钥；密钥只留在本页面",
    inText: "原文标注", copyAs: "复制为", copy: "复制", copied: "已复制",
    characters: n => `${n} 个字符`,
    back: "毫秒往返", inside: "毫秒服务器内", tokens: () => "个词元", windows: () => "个窗口",
    truncated: "末尾已截去", calibrated: "已校准", pair: "读取文本对",
    askFirst: "请输入问题以获得答案。", none: "未找到", noAnswer: "文中没有答案",
    cut: "达到长度上限", copiedParts: n => `${n} 处摘自原文`,
    noAnswerScore: "无答案的概率", abstained: "没有足够确定的标签",
    more: n => `全部 ${n} 个标签`, numbers: n => `${n} 个数，长度为 1`,
    done: n => `${n} 个任务头已给出结果。`,
    unreachable: "无法连接服务器", unreachableNext: "它还在运行吗？输入下一段文本时会再次请求。",
    retry: s => `请在 ${s} 秒后重试。`, noAnswerYet: "// 请先分析一段文本。",
    kinds: { "classification.v1": "单标签", "multilabel.v1": "多标签", "regression.v1": "数值", "tokens.v1": "片段", "answer.v1": "答案", "summary.v1": "摘要", "compress.v1": "缩写", "embedding.v1": "向量", "generation.v1": "生成文本" },
    about: { "embedding.v1": "用于检索和聚类的向量。", "summary.v1": "最能概括全文的句子。", "compress.v1": "最能概括全文的词语。", "regression.v1": "一个数值。", "answer.v1": "问题的答案在文中的位置。", "generation.v1": "新写出的文本，内容可能与原文不符。" },
  },
};
let words = WORDS[navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en"];
const language = () => words === WORDS.zh ? "zh-CN" : "en";
const amount = n => n.toLocaleString(language());
const percent = score => score > 0 && score < 0.0005 ? "<0.1%" : `${(100 * score).toFixed(score > 0.9995 || score === 0 ? 0 : 1)}%`;

// An element; what is given as text stays text.
function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) found.style.setProperty(name, value);
    else if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) found.setAttribute(name, value === true ? "" : value);
  }
  found.append(...children.filter(child => child !== null));
  return found;
}
const at = id => document.getElementById(id);

// The fixed words of the page, in the language that is chosen.
function speak() {
  document.documentElement.lang = language();
  for (const each of document.querySelectorAll("[data-word]")) each.textContent = words[each.dataset.word];
  for (const each of document.querySelectorAll("[data-hint]")) each.placeholder = words[each.dataset.hint];
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", words[each.dataset.label]);
  at("language").textContent = words.other;
  at("language").lang = language() === "en" ? "zh-CN" : "en";
}

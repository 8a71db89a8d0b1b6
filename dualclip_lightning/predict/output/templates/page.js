// What the page shows, and what every other part uses.

const byId = (id) => document.getElementById(id);
const content = JSON.parse(byId("content").textContent);
const all = [...content.images, ...content.failed];
const state = { show: "all", text: "", sort: "highest", at: -1, tried: null };

// Attributes and text, never markup: names may contain anything.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The decision of the run, or of the threshold that is tried.
function word(item) {
  if (state.tried === null || item.word === "failed") return item.word;
  return item.score > state.tried ? "anomalous" : "normal"; // as `--threshold NUMBER` decides
}

const matches = {
  all: () => true,
  anomalous: (item) => word(item) === "anomalous",
  normal: (item) => word(item) === "normal",
  "no decision": (item) => word(item) === "",
  failed: (item) => word(item) === "failed",
  good: (item) => mark(item) === "good",
  bad: (item) => mark(item) === "bad",
};
const count = (name) => all.filter(matches[name]).length;

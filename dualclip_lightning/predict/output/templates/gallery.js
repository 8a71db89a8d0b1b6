// The list of images: filtered, sorted, in pages; and all events.

const PAGE = 60; // images in the document at a time, so that thousands stay quick
const names = new Intl.Collator(undefined, { numeric: true });
let shown = [];

const orders = {
  highest: (a, b) => b.score - a.score || names.compare(a.name, b.name),
  lowest: (a, b) => a.score - b.score || names.compare(a.name, b.name),
  name: (a, b) => names.compare(a.name, b.name),
};
const page = () => Math.floor(Math.max(0, state.at) / PAGE);
const cards = () => [...byId("cards").children];

function list() {
  const text = state.text.toLowerCase();
  const fits = (item) => matches[state.show](item) && item.name.toLowerCase().includes(text);
  const chosen = (items) => items.filter(fits).sort(orders[state.sort]);
  const apart = state.sort !== "name"; // failed images have no score and come last
  shown = apart ? [...chosen(content.images), ...chosen(content.failed)] : chosen(all);
  state.at = -1;
  showPage();
}

function showPage() {
  const first = page() * PAGE;
  const pages = Math.ceil(shown.length / PAGE);
  byId("cards").replaceChildren(...shown.slice(first, first + PAGE).map(card));
  byId("empty").hidden = shown.length > 0;
  byId("pages").hidden = pages < 2;
  byId("where").textContent = `${first + 1} to ${Math.min(shown.length, first + PAGE)} of ${shown.length}`;
  byId("previous").disabled = page() === 0;
  byId("next").disabled = page() >= pages - 1;
  update();
}

// Everything that marks and a tried threshold change, without building the pictures anew.
function update() {
  cards().forEach((figure, i) => refresh(figure, shown[page() * PAGE + i]));
  const large = byId("large"); // keeps its last image after it is closed
  if (large.open) refresh(large.firstElementChild, shown[state.at]);
  for (const button of byId("filters").children) {
    const name = button.dataset.show;
    button.setAttribute("aria-pressed", String(state.show === name));
    button.textContent = `${name === "good" || name === "bad" ? "marked " : ""}${name} (${count(name)})`;
  }
  for (const button of document.querySelectorAll("[data-save]")) {
    const number = count(button.dataset.save);
    button.textContent = `Save the list of ${number} marked ${button.dataset.save}`;
    button.disabled = number === 0;
  }
  draw();
  say();
}

function choose(at) {
  const before = page();
  state.at = Math.min(shown.length - 1, Math.max(0, at));
  if (page() !== before) showPage();
  if (byId("large").open) enlarge();
  else cards()[state.at % PAGE]?.focus();
}

function enlarge() {
  byId("large").replaceChildren(card(shown[state.at]));
  refresh(byId("large").firstElementChild, shown[state.at]);
  if (!byId("large").open) byId("large").showModal();
  byId("large").firstElementChild.focus();
}

function turn(pages) {
  state.at = (page() + pages) * PAGE;
  showPage();
  choose(state.at);
}

function columns() {
  const tops = cards().map((figure) => figure.offsetTop);
  return byId("large").open ? 1 : tops.filter((top) => top === tops[0]).length;
}

const keys = {
  ArrowRight: () => choose(state.at + 1),
  ArrowLeft: () => choose(state.at - 1),
  ArrowDown: () => choose(state.at < 0 ? 0 : state.at + columns()),
  ArrowUp: () => choose(state.at - columns()),
  Enter: () => state.at >= 0 && enlarge(),
  g: () => state.at >= 0 && setMark(shown[state.at], "good"),
  b: () => state.at >= 0 && setMark(shown[state.at], "bad"),
  "/": () => byId("text").focus(),
  "?": () => byId("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || !(event.key in keys)) return;
  if (event.target.closest("input, select") || (event.key === "Enter" && event.target.closest("button, a, summary"))) return;
  event.preventDefault();
  keys[event.key]();
});
byId("text").addEventListener("keydown", (event) => event.key === "Escape" && event.target.blur());

function clicked(event) {
  const figure = event.target.closest("figure");
  if (!figure) return;
  const inside = byId("large").contains(figure);
  if (!inside) state.at = page() * PAGE + cards().indexOf(figure);
  const button = event.target.closest("[data-mark]");
  if (button) setMark(shown[state.at], button.dataset.mark);
  else if (event.target.tagName === "IMG") {
    if (inside) byId("large").close();
    else enlarge();
  }
}
byId("cards").addEventListener("click", clicked);
byId("large").addEventListener("click", clicked);
byId("large").addEventListener("close", () => {
  byId("large").replaceChildren();
  choose(state.at);
});

byId("filters").append(...Object.keys(matches).map((name) => make("button", { "data-show": name })));
byId("filters").addEventListener("click", (event) => {
  if (!event.target.dataset.show) return;
  state.show = event.target.dataset.show;
  list();
});
byId("text").addEventListener("input", (event) => {
  state.text = event.target.value;
  list();
});
byId("sort").addEventListener("change", (event) => {
  state.sort = event.target.value;
  list();
});
const slider = byId("slider");
Object.assign(slider, { min: low, max: Math.min(high, 0.9999), step: 0.0001, value: content.threshold ?? high });
slider.addEventListener("input", () => {
  state.tried = Number(Number(slider.value).toFixed(4));
  update();
});
slider.addEventListener("change", list);
byId("reset").addEventListener("click", () => {
  state.tried = null;
  slider.value = content.threshold ?? high;
  list();
});
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("keys").addEventListener("click", keys["?"]);
byId("marks").addEventListener("click", (event) => event.target.dataset.save && saveList(event.target.dataset.save));
window.addEventListener("beforeprint", () => document.querySelectorAll("img").forEach((picture) => (picture.loading = "eager")));

byId("low").textContent = low.toFixed(2);
byId("high").textContent = high.toFixed(2);
for (const id of ["bar", "scores", "marks"]) byId(id).hidden = content.images.length === 0 && id !== "bar";
list();

// One image: its card, and the parts of it that change.

const WORDS = { anomalous: "anomalous", normal: "normal", "": "no decision", failed: "failed" };

function card(item) {
  const failed = item.word === "failed";
  const figure = make("figure", { tabindex: "-1" });
  const choice = ["good", "bad"].map((value) => make("button", { "data-mark": value }, value));
  figure.append(make("figcaption", {},
    ...(failed ? [] : [make("span", { class: "score" }, item.score.toFixed(4))]),
    make("span", { class: "word" }),
    ...(failed || item.p === null ? [] : [make("span", { class: "quiet" }, `p = ${item.p.toFixed(3)}`)]),
    ...(failed ? [] : [make("span", { class: "choice", role: "group", "aria-label": "Mark" }, ...choice)]),
    make("span", { class: "name" }, item.name),
    ...(item.reason ? [make("span", { class: "quiet" }, item.reason)] : []),
  ));
  if (failed) return figure;
  const alt = item.heatmap ? `${item.name} and its anomaly map` : item.name;
  const picture = make("img", { src: item.heatmap ?? item.image, alt, loading: "lazy" });
  picture.addEventListener("error", () => picture.replaceWith(make("p", { class: "quiet" }, "The browser cannot show this picture.")));
  figure.append(picture, make("div", { class: "about quiet" },
    ...(item.heatmap ? [make("a", { href: item.heatmap, target: "_blank" }, "heatmap")] : []),
    make("a", { href: item.image, target: "_blank" }, "image"), details(item)));
  return figure;
}

function details(item) {
  const used = item.references.map((number) => content.references[number]);
  const lines = [
    `${item.size} pixels, ${item.geometry}`,
    used.length ? `compared with ${used.join(", ")}` : "no reference: text score only",
    ...item.notes,
  ];
  return make("details", {}, make("summary", {}, "details"), ...lines.map((line) => make("div", {}, line)));
}

function refresh(figure, item) {
  figure.className = word(item) || "undecided";
  figure.querySelector(".word").textContent = WORDS[word(item)];
  for (const button of figure.querySelectorAll("[data-mark]")) {
    button.setAttribute("aria-pressed", String(mark(item) === button.dataset.mark));
  }
}

// One image: its card, and the parts of it that change.

const WORDS = { anomalous: "anomalous", normal: "normal", "": "no decision", failed: "failed" };
const MOST_REGIONS = 5; // listed in the details of an image

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
  figure.append(outlined(picture, item), make("div", { class: "about quiet" },
    ...(item.heatmap ? [make("a", { href: item.heatmap, target: "_blank" }, "heatmap")] : []),
    make("a", { href: item.image, target: "_blank" }, "image"), details(item)));
  return figure;
}

function described({ box: [x, y, width, height], area, peak }) {
  return `region of ${width}x${height} at (${x}, ${y}): ${area} pixels, peak ${peak.toFixed(4)}`;
}

// A picture without a heatmap gets its outlines from the page; in a heatmap they are drawn.
function outlined(picture, item) {
  if (!item.regions.some((region) => region.polygon)) return picture;
  const draw = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const outlines = draw("svg", { viewBox: `0 0 ${item.size.replace("x", " ")}` });
  for (const edge of ["dark", "light"]) {
    for (const { polygon } of item.regions) outlines.append(draw("polygon", { points: polygon.join(" "), class: edge }));
  }
  const frame = make("div", { class: "picture" });
  frame.append(picture, outlines);
  return frame;
}

function details(item) {
  const used = item.references.map((number) => content.references[number]);
  const lines = [
    `${item.size} pixels, ${item.geometry}`,
    used.length ? `compared with ${used.join(", ")}` : "no reference: text score only",
    ...item.regions.slice(0, MOST_REGIONS).map(described),
    ...(item.regions.length > MOST_REGIONS ? [`and ${item.regions.length - MOST_REGIONS} more regions, in predictions.jsonl`] : []),
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

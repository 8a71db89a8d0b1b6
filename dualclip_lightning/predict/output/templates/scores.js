// The histogram of scores with the threshold, the slider, and what it says.

const BARS = 60;
const scores = content.images.map((item) => item.score);
const [low, high] = limits();

function limits() {
  const inside = content.threshold === null ? scores : [...scores, content.threshold];
  const [first, last] = inside.reduce(([a, b], score) => [Math.min(a, score), Math.max(b, score)], [1, 0]);
  const from = Math.max(0, Math.floor(first * 50) / 50);
  return [from, Math.min(1, Math.max(from + 0.02, Math.ceil(last * 50) / 50))];
}

function draw() {
  const bars = Array.from({ length: BARS }, () => ({ normal: 0, anomalous: 0, undecided: 0 }));
  for (const item of content.images) {
    const place = Math.floor(((item.score - low) / (high - low)) * BARS);
    bars[Math.min(BARS - 1, Math.max(0, place))][word(item) || "undecided"] += 1;
  }
  const tallest = Math.max(1, ...bars.map((bar) => bar.normal + bar.anomalous + bar.undecided));
  const width = 1000 / BARS;
  const shapes = bars.flatMap((bar, i) => {
    let top = 100;
    return Object.entries(bar).filter(([, number]) => number).map(([kind, number]) => {
      const height = (98 * number) / tallest;
      top -= height;
      const place = { class: kind, x: i * width + 1, y: top, width: width - 2, height };
      const title = svg("title", {});
      title.textContent = `${number} ${kind}, scores from ${at(i)} to ${at(i + 1)}`;
      return svg("rect", place, title);
    });
  });
  const lines = [[content.threshold, "threshold"], [state.tried, "tried"]].filter(([value]) => value !== null);
  const drawn = lines.map(([value, kind]) => {
    const x = (1000 * (value - low)) / (high - low);
    return svg("line", { class: kind, x1: x, x2: x, y1: 0, y2: 100 });
  });
  byId("histogram").replaceChildren(...shapes, ...drawn);
  byId("histogram").setAttribute("aria-label", `Histogram of ${scores.length} scores from ${at(0)} to ${at(BARS)}`);
  byId("middle").textContent = `score; the highest bar has ${tallest} image${tallest === 1 ? "" : "s"}`;
}

const at = (i) => (low + (i * (high - low)) / BARS).toFixed(3);

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function say() {
  const place = byId("preview");
  byId("reset").hidden = state.tried === null;
  if (state.tried === null) {
    const line = content.threshold === null ? "There is no threshold." :
      `The line is the threshold, ${content.threshold.toFixed(4)}.`;
    place.textContent = `${line} Move the slider to try another.`;
    return;
  }
  const tried = state.tried.toFixed(4);
  const mixed = new Set(content.images.map((item) => item.references.length > 0)).size > 1;
  place.replaceChildren(
    make("b", {}, `${count("anomalous")} anomalous, ${count("normal")} normal at ${tried}.`),
    " This is a preview: files and pictures stay as they are. To decide so, run ",
    make("code", {}, `${content.again} --threshold ${tried}`),
    mixed ? ". A number decides all images, also those without references, whose scores lie on another level." : ".",
  );
}

// The page sends images to /predict, one request after the other, and shows what comes back. All texts of answers are
// set as text, never as HTML.

const part = (id) => document.getElementById(id);
const memory = { get token() { return sessionStorage.getItem("token") ?? ""; } };
const SHOWN = 50; // results that stay on the page
const MOST_TRIES = 20;

const element = (name, text = "", kind = "") => {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind;
  return made;
};

const ask = async (path, options = {}) => {
  const headers = memory.token ? { Authorization: `Bearer ${memory.token}` } : {};
  const answer = await fetch(path, { ...options, headers });
  part("access").hidden = answer.status !== 401;
  return answer;
};

const describe = async () => {
  const answer = await ask("detector");
  if (!answer.ok) return;
  const facts = await answer.json();
  part("title").textContent = `Anomalies of: ${facts.class_name}`;
  const references = facts.references ? `${facts.references} references` : "text alone";
  const threshold = facts.threshold === null ? "No threshold: scores without decisions." : facts.threshold_origin;
  part("about").textContent = `${facts.method}, ${facts.backbone}, ${references}. ${threshold}`;
};

const table = (regions) => {
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const title of ["region", "x", "y", "width", "height", "pixels", "peak", "mean"]) head.append(element("th", title));
  const body = made.createTBody();
  regions.forEach(({ box, area, peak, mean }, i) => {
    const row = body.insertRow();
    for (const value of [i + 1, ...box, area, peak.toFixed(4), mean.toFixed(4)]) row.append(element("td", value));
  });
  return made;
};

const card = (result) => {
  const made = element("article", "", result.error ? "failed" : result.decision ?? "");
  made.append(element("h2", result.name));
  if (result.error) {
    made.append(element("p", result.error, "word"));
    return made;
  }
  const line = element("p");
  line.append(element("span", result.decision ?? "no decision", "word"), ` score `);
  line.append(element("span", result.score.toFixed(4), "score"));
  if (result.threshold !== null) line.append(`, threshold ${result.threshold.toFixed(4)}`);
  made.append(line);
  for (const note of [result.reason, ...result.notes].filter(Boolean)) made.append(element("p", note, "quiet"));
  if (result.heatmap) {
    const picture = element("img");
    picture.src = `data:image/png;base64,${result.heatmap}`;
    picture.alt = `The image, and its map with ${result.regions?.length ?? "no"} regions`;
    made.append(picture);
  }
  if (result.regions?.length) made.append(table(result.regions));
  return made;
};

const pause = (seconds) => new Promise((go) => setTimeout(go, 1000 * seconds));

const score = async (file) => {
  const query = `heatmap=true&scale=${part("own").checked ? "image" : "unit"}`;
  for (let attempt = 0; ; attempt += 1) {
    const body = new FormData();
    body.append("images", file, file.name);
    const answer = await ask(`predict?${query}`, { method: "POST", body });
    if (answer.status === 429 && attempt < MOST_TRIES) {
      await pause(Number(answer.headers.get("Retry-After") ?? 1));
      continue;
    }
    const found = await answer.json();
    return found.results ?? [{ name: file.name, error: found.detail }];
  }
};

const show = (results) => {
  for (const result of results) part("results").prepend(card(result));
  while (part("results").children.length > SHOWN) part("results").lastElementChild.remove();
};

let queue = Promise.resolve();
let left = 0;

const add = (files) => {
  for (const file of files) {
    left += 1;
    queue = queue.then(async () => {
      part("status").textContent = `Scoring ${file.name}, ${left} left.`;
      try {
        show(await score(file));
      } catch {
        show([{ name: file.name, error: "The service did not answer. Check that it runs." }]);
      }
      left -= 1;
      if (!left) part("status").textContent = "Done.";
    });
  }
};

addEventListener("dragover", (event) => {
  event.preventDefault();
  part("drop").classList.add("over");
});
addEventListener("dragleave", () => part("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  part("drop").classList.remove("over");
  add(event.dataTransfer.files);
});
part("files").addEventListener("change", () => {
  add(part("files").files);
  part("files").value = "";
});
part("access").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", part("token").value);
  await describe();
  part("denied").textContent = part("access").hidden ? "" : "This is not the token of the service.";
});

describe();

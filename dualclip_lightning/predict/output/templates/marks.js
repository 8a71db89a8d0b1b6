// Marks good and bad: kept by the browser for one state of a file, and saved as lists.

const key = (item) => `dualclip mark ${item.state} ${item.path}`;
const marks = new Map(content.images.map((item) => [item, kept(item)]));
const mark = (item) => marks.get(item) ?? "";

function kept(item) {
  try {
    return localStorage.getItem(key(item)) ?? "";
  } catch {
    return "";
  }
}

function setMark(item, value) {
  if (!marks.has(item)) return; // an image that could not be used
  marks.set(item, mark(item) === value ? "" : value);
  try {
    if (mark(item)) localStorage.setItem(key(item), mark(item));
    else localStorage.removeItem(key(item));
  } catch {
    byId("saved").textContent = "This browser keeps no marks for files. Save the lists before you close the page.";
  }
  update();
}

// A list has a path a line. Bytes that are no UTF-8 came as U+DC80 to U+DCFF and go back as they were.
function saveList(value) {
  const marked = content.images.filter((item) => mark(item) === value);
  const listed = marked.filter((item) => !/\n|\r$/.test(item.path));
  const text = listed.map((item) => `${item.path}\n`).join("");
  const parts = text.split(/([\udc80-\udcff])/u);
  const bytes = parts.map((part, i) => (i % 2 ? new Uint8Array([part.charCodeAt(0) - 0xdc00]) : part));
  const address = URL.createObjectURL(new Blob(bytes, { type: "text/plain" }));
  make("a", { href: address, download: `${value}.txt` }).click();
  URL.revokeObjectURL(address);
  const left = marked.length - listed.length;
  byId("saved").textContent = `${value}.txt has ${listed.length} paths.` +
    (left ? ` ${left} marked images are not in it, because their names have line breaks.` : "");
}

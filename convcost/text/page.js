"use strict";
const table = document.querySelector("table");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const filter = document.getElementById("filter");
const status = document.getElementById("status");
const original = [...body.rows];
const { specs, lines } = JSON.parse(document.getElementById("data").textContent);

const number = (cell) => (cell.dataset.v === undefined ? null : Number(cell.dataset.v));

function sort(index) {
  const head = heads[index];
  const next = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
  heads.forEach((one) => one.setAttribute("aria-sort", one === head ? next : "none"));
  const sign = next === "ascending" ? 1 : -1;
  const keyed = original.map((row) => [number(row.cells[index]), row.cells[index].textContent, row]);
  if (next !== "none") {
    keyed.sort(([a, s], [b, t]) => {
      if (a !== null && b !== null) return sign * (a - b);
      if (a !== null || b !== null) return a === null ? 1 : -1;
      return sign * s.localeCompare(t, "en", { numeric: true });
    });
  }
  body.append(...keyed.map(([, , row]) => row));
}

function narrow() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of original) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  status.textContent = words.length ? `${shown} of ${original.length} rows` : "";
}

function csv() { // the head is the line before that of row 1
  const shown = [...body.rows].filter((row) => !row.hidden).map((row) => Number(row.id.slice("row-".length)));
  return [0, ...shown].map((place) => `${lines[place]}\n`).join("");
}

async function copy() {
  const text = csv();
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = "Copied.";
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("aria-label", "The table as CSV");
    document.getElementById("copy").after(area);
    area.select();
    status.textContent = "The browser allows no copying: press Ctrl+C.";
  }
}

heads.forEach((head, index) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(index));
  head.append(button);
  head.setAttribute("aria-sort", "none");
});
filter.addEventListener("input", narrow);
document.getElementById("copy").addEventListener("click", copy);
document.querySelector(".tools").hidden = false;

function mark(value) {
  const names = new Set(value && value.name);
  for (const row of original) {
    row.classList.toggle("picked", names.has(row.dataset.name ?? row.cells[0].textContent));
  }
}

const options = { actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true } };

const linked = [];

function link(view) { // what is pointed at in one figure is shown in the others too
  const show = (values) => linked.forEach((other) => other === view || other.data("hover_store", values).runAsync());
  const fields = [{ type: "E", field: "name" }];
  view.addEventListener("pointerover", (_, item) => show(item?.datum?.name ? [{ fields, values: [item.datum.name] }] : []));
  view.addEventListener("pointerout", () => show([]));
  linked.push(view);
}

async function enliven(chart, spec) {
  const still = chart.innerHTML;
  try {
    const { view } = await vegaEmbed(chart, spec, options);
    const { signals } = view.getState();
    if (signals.picked !== undefined) view.addSignalListener("picked", (_, value) => mark(value));
    if (signals.hover !== undefined) link(view);
  } catch (error) {
    chart.innerHTML = still;
    throw error;
  }
}

async function enlivenAll() {
  for (const [index, chart] of document.querySelectorAll(".chart").entries()) {
    await new Promise((next) => setTimeout(next)); // the page can be read and used meanwhile
    await enliven(chart, specs[index]);
  }
}

enlivenAll();

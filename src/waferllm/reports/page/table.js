"use strict";
// The table: one state (sort, filters, picked row), one function that draws from it.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b", "#8c6d31"];
const SHOWN_ROWS = 300;
const state = { key: null, down: false, words: "", fits: false, bounds: {}, picked: null };

// A column reads its value from a row; figures are [value, low, high] or a reason in words.
const designKeys = [...new Set(data.rows.flatMap((row) => Object.keys(row.design)))];
const textColumns = [["sharding", "sharding"], ["prefill_bound", "prefill bound by"],
  ["decode_bound", "decode bound by"], ["helps_most", "would help most"]];
const columns = [
  { key: "name", title: "system", read: (row) => row.name },
  ...designKeys.map((key) => ({ key, title: key, number: true, read: (row) => row.design[key] })),
  ...data.metrics.map((metric) => ({ ...metric, number: true, figure: true,
    read: (row) => (Array.isArray(row.figures[metric.key]) ? row.figures[metric.key][0] : undefined) })),
  ...textColumns.map(([key, title]) => ({ key, title, read: (row) => row[key] })),
];

function show(value) {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(3));
  const digits = 2 - Math.floor(Math.log10(Math.abs(rounded)));
  if (Math.abs(rounded) >= 1e9 || Math.abs(rounded) < 1e-4) return rounded.toExponential(2);
  const places = Math.max(digits, 0);
  return rounded.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

const unitAfter = (metric) => (metric.unit && !metric.title.includes(metric.unit) ? metric.unit : "");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function words(row) {
  return [row.name, row.why_not, ...textColumns.map(([key]) => row[key]), ...row.recalled, ...row.warnings]
    .join(" ").toLowerCase();
}

function within(row) {
  return Object.entries(state.bounds).every(([key, bound]) => {
    const column = columns.find((one) => one.key === key);
    const value = column.read(row);
    if (value === undefined) return false;
    return column.lower === false ? value >= bound : value <= bound;
  });
}

function chosen() {
  const wanted = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = data.rows.filter((row) => (!state.fits || row.fits) && within(row) &&
    wanted.every((word) => words(row).includes(word)));
  const column = columns.find((one) => one.key === state.key);
  if (!column) return rows;
  const sign = state.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [column.read(a), column.read(b)];
    if (x === undefined || x === "") return y === undefined || y === "" ? 0 : 1;
    if (y === undefined || y === "") return -1;
    return sign * (column.number ? x - y : x.localeCompare(y));
  });
}

function drawHead() {
  const head = element("tr");
  for (const column of columns) {
    const unit = unitAfter(column);
    const heading = unit ? `${column.title}, ${unit}` : column.title;
    const button = element("button", { type: "button", textContent: heading });
    button.onclick = () => {
      state.down = state.key === column.key ? !state.down : column.lower === false;
      state.key = column.key;
      draw();
    };
    const cell = element("th", { className: column.number ? "number" : "" }, button);
    cell.dataset.key = column.key;
    cell.scope = "col";
    if (column.number) cell.append(element("br"), boundBox(column));
    head.append(cell);
  }
  document.querySelector("#table thead").replaceChildren(head);
}

function boundBox(column) {
  const sense = column.lower === false ? "at least" : "at most";
  const box = element("input", { type: "number", step: "any", placeholder: sense });
  box.setAttribute("aria-label", `${column.title} ${sense}`);
  box.oninput = () => {
    if (box.value === "") delete state.bounds[column.key];
    else state.bounds[column.key] = Number(box.value);
    draw();
  };
  return box;
}

function drawBody(rows) {
  document.querySelector("#table tbody").replaceChildren(...rows.slice(0, SHOWN_ROWS).map(rowElement));
  for (const cell of document.querySelectorAll("#table th")) {
    if (cell.dataset.key === state.key) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  const more = rows.length > SHOWN_ROWS ? `, the first ${SHOWN_ROWS} shown` : "";
  byId("count").textContent = `${rows.length} of ${data.rows.length}${more}`;
}

function rowElement(row) {
  const made = element("tr", { className: row.fits ? "" : "out" });
  if (row === state.picked) made.classList.add("picked");
  made.onclick = () => pick(row);
  if (row.fits) made.append(...columns.map((column) => cellElement(row, column)));
  else {
    const before = columns.filter((one) => one.key === "name" || designKeys.includes(one.key));
    made.append(...before.map((column) => cellElement(row, column)),
      element("td", { colSpan: columns.length - before.length, textContent: `does not fit: ${row.why_not}` }));
  }
  return made;
}

function cellElement(row, column) {
  const value = column.read(row);
  const cell = element("td", { className: column.number ? "number" : column.key === "name" ? "name" : "text" });
  if (column.key === "helps_most") cell.classList.add("long");
  if (!column.number) cell.append(value || "");
  else if (value !== undefined) cell.append(column.figure ? show(value) : `${Number(value.toPrecision(4))}`);
  else cell.append("n/a");
  if (column.figure) figureExtras(cell, row.figures[column.key]);
  if (column.key === "name") nameExtras(cell, row);
  return cell;
}

function figureExtras(cell, figure) {
  if (!Array.isArray(figure)) {
    tip(cell, () => `left out: ${figure || "not part of this exploration"}`);
    return;
  }
  const [value, low, high] = figure;
  if (high - low > 1e-3 * Math.abs(value)) {
    cell.append(element("small", { textContent: `${show(low)}–${show(high)}` }));
    tip(cell, () => "predicted; below it, the range that uncertain inputs imply");
  } else tip(cell, () => "predicted");
}

function nameExtras(cell, row) {
  if (row.recalled.length) {
    const flag = element("span", { className: "flag", textContent: " r" });
    tip(flag, () => `recalled, not read in a source:\n${row.recalled.join("\n")}`);
    cell.append(flag);
  }
  if (row.warnings.length) {
    const flag = element("span", { className: "flag", textContent: " !" });
    tip(flag, () => row.warnings.join("\n"));
    cell.append(flag);
  }
}

function tip(target, text) {
  target.addEventListener("pointermove", (event) => {
    const box = byId("tip");
    event.stopPropagation();
    box.textContent = text();
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    box.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 8))}px`;
  });
  target.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
}

function pick(row) {
  state.picked = state.picked === row ? null : row;
  draw();
}

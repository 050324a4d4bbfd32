// The charts: plain SVG from the rows that the filters leave.
function svgElement(tag, attributes = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function fresh(id, height) {
  const svg = byId(id);
  const width = svg.parentElement.clientWidth - 26;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.replaceChildren();
  return { svg, width };
}

// Logarithmic where all values are positive and span more than a factor of three.
function scale(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const logarithmic = low > 0 && high > 3 * low;
  const f = logarithmic ? Math.log : (value) => value;
  if (low === high) [low, high] = low === 0 ? [-1, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const [a, b] = [f(low), f(high)];
  const pad = 0.07 * (b - a);
  const at = (value) => from + ((f(value) - a + pad) / (b - a + 2 * pad)) * (to - from);
  return { at, ticks: logarithmic ? logTicks(low, high) : linearTicks(low, high) };
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const steps = decades > 3 ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1; power += 1) {
    for (const step of steps) ticks.push(step * 10 ** power);
  }
  return ticks.filter((tick) => tick >= low * 0.93 && tick <= high * 1.07);
}

function linearTicks(low, high) {
  const raw = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= raw);
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) ticks.push(n * step);
  return ticks;
}

const tickText = (value) => Number(value.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 });

function undominated(points, x, y) {
  const sign = (metric) => (metric.lower === false ? -1 : 1);
  const ordered = [...points].sort((a, b) =>
    sign(x) * (a.x - b.x) || sign(y) * (a.y - b.y));
  const front = [];
  for (const point of ordered) {
    const last = front[front.length - 1];
    if (!last || sign(y) * (point.y - last.y) < 0 || (point.x === last.x && point.y === last.y)) front.push(point);
  }
  return front;
}

function drawScatter(rows) {
  const { svg, width } = fresh("scatter", 320);
  const [x, y] = ["x", "y"].map((id) => data.metrics.find((one) => one.key === byId(id).value));
  const read = (row, metric) => (Array.isArray(row.figures[metric.key]) ? row.figures[metric.key][0] : undefined);
  const points = rows.filter((row) => row.fits)
    .map((row) => ({ row, x: read(row, x), y: read(row, y) }))
    .filter((point) => point.x !== undefined && point.y !== undefined);
  if (!points.length) {
    svg.append(svgElement("text", { x: 20, y: 40 }, "No design has both of these figures."));
    return;
  }
  const across = scale(points.map((point) => point.x), 62, width - 16);
  const up = scale(points.map((point) => point.y), 278, 14);
  axes(svg, width, across, up, x, y);
  const front = undominated(points, x, y);
  const path = front.map((point) => `${across.at(point.x)},${up.at(point.y)}`).join(" ");
  svg.append(svgElement("polyline", { class: "front-line", points: path }));
  const best = new Set(front);
  for (const point of [...points].sort((a, b) => best.has(a) - best.has(b))) {
    svg.append(dot(point, across, up, best.has(point), x, y));
  }
  nameSome(svg, width, points.length <= 12 ? points : front, across, up);
}

// Names from the left on, without those that would lie on one already written.
function nameSome(svg, width, points, across, up) {
  const taken = [];
  for (const point of points) {
    const [x, y] = [across.at(point.x), up.at(point.y)];
    if (taken.some(([a, b]) => Math.abs(x - a) < 120 && Math.abs(y - b) < 14)) continue;
    taken.push([x, y]);
    const left = x > width - 130;
    svg.append(svgElement("text", { class: "name", x: x + (left ? -8 : 8), y: y - 7,
      "text-anchor": left ? "end" : "start" }, point.row.label));
  }
}

function axes(svg, width, across, up, x, y) {
  for (const tick of across.ticks) {
    const at = across.at(tick);
    svg.append(svgElement("line", { class: "grid", x1: at, x2: at, y1: 14, y2: 278 }),
      svgElement("text", { x: at, y: 293, "text-anchor": "middle" }, tickText(tick)));
  }
  for (const tick of up.ticks) {
    const at = up.at(tick);
    svg.append(svgElement("line", { class: "grid", x1: 62, x2: width - 16, y1: at, y2: at }),
      svgElement("text", { x: 56, y: at + 4, "text-anchor": "end" }, tickText(tick)));
  }
  const unit = (metric) => (unitAfter(metric) ? `, ${unitAfter(metric)}` : "");
  const better = (metric) => (metric.lower === false ? "higher is better" : "lower is better");
  svg.append(svgElement("text", { x: width - 16, y: 312, "text-anchor": "end" }, `${x.title}${unit(x)} (${better(x)})`),
    svgElement("text", { x: 4, y: 10 }, `${y.title}${unit(y)} (${better(y)})`));
}

function dot(point, across, up, isFront, x, y) {
  const classes = [isFront ? "front" : "", point.row === state.picked ? "picked" : ""].join(" ").trim();
  const circle = svgElement("circle", { cx: across.at(point.x), cy: up.at(point.y), r: isFront ? 5.5 : 4.5, class: classes });
  tip(circle, () => [point.row.name, ...Object.entries(point.row.design).map(([key, value]) => `${key} ${value}`),
    `${x.title}: ${show(point.x)} ${unitAfter(x)}`, `${y.title}: ${show(point.y)} ${unitAfter(y)}`, point.row.sharding,
    `decode bound by ${point.row.decode_bound}`].join("\n"));
  circle.addEventListener("click", () => pick(point.row));
  return circle;
}

function drawCost(rows) {
  const priced = rows.filter((row) => Object.keys(row.cost).length).slice(0, 10);
  byId("cost-figure").hidden = !data.rows.some((row) => Object.keys(row.cost).length);
  const { svg, width } = fresh("cost", Math.max(60, 32 * priced.length + 8));
  const parts = [...new Set(priced.flatMap((row) => Object.keys(row.cost)))];
  byId("cost-key").replaceChildren(...parts.flatMap((part, place) => {
    const square = element("i", { className: "dot square" });
    square.style.background = PALETTE[place % PALETTE.length];
    return [square, part];
  }));
  const totals = priced.map((row) => Object.values(row.cost).reduce((a, b) => a + b, 0));
  const unit = (width - 245) / Math.max(...totals, 1e-12);
  priced.forEach((row, place) => costBar(svg, row, place, parts, totals[place], unit));
}

function costBar(svg, row, place, parts, total, unit) {
  const top = 32 * place + 6;
  let left = 170;
  svg.append(svgElement("text", { class: "name", x: 162, y: top + 15, "text-anchor": "end" }, row.label));
  parts.forEach((part, colour) => {
    const value = row.cost[part] || 0;
    const bar = svgElement("rect", { x: left, y: top, width: value * unit, height: 22, fill: PALETTE[colour % PALETTE.length] });
    tip(bar, () => `${row.label}\n${part}: $${show(value)} per Mtok, ${Math.round((100 * value) / total)} %`);
    svg.append(bar);
    left += value * unit;
  });
  svg.append(svgElement("text", { class: "name", x: left + 6, y: top + 15 }, `$${show(total)}`));
}

function drawTornado() {
  const found = data.sensitivity;
  byId("tornado-figure").hidden = !found;
  if (!found) return;
  byId("tornado-title").textContent = `${found.system}: ${found.metric} if an input is ${found.percent} %`;
  byId("tornado-title").append(element("span", { className: "key" }, element("i", { className: "dot" }), "lower",
    element("i", { className: "dot front" }), "higher"));
  const { svg, width } = fresh("tornado", 28 * found.rows.length + 26);
  const middle = 200 + (width - 260) / 2;
  const reach = Math.max(...found.rows.flatMap(([, low, high]) => [Math.abs(low), Math.abs(high)]), 1e-9);
  const unit = (width - 260) / 2 / reach;
  found.rows.forEach(([name, low, high], place) => {
    const top = 28 * place + 4;
    svg.append(svgElement("text", { class: "name", x: 4, y: top + 14 }, name));
    for (const [value, kind] of [[low, "lower"], [high, "higher"]]) {
      const bar = svgElement("rect", { class: kind, x: middle + Math.min(0, value * unit), y: top,
        width: Math.max(0.5, Math.abs(value) * unit), height: 20 });
      tip(bar, () => `${name} ${found.percent} % ${kind}: ${found.metric} ${value > 0 ? "+" : ""}${show(100 * value)} %`);
      svg.append(bar);
    }
  });
  const bottom = 28 * found.rows.length;
  svg.append(svgElement("line", { class: "axis", x1: middle, x2: middle, y1: 0, y2: bottom }));
  for (const share of [-reach, 0, reach]) {
    svg.append(svgElement("text", { x: middle + share * unit, y: bottom + 15, "text-anchor": "middle" },
      `${share > 0 ? "+" : ""}${show(100 * share)} %`));
  }
}

function draw() {
  const rows = chosen();
  drawBody(rows);
  drawScatter(rows);
  drawCost(rows);
}

function start() {
  byId("title").textContent = data.title;
  byId("lead").textContent = `Predicted, all of it; ranked by ${data.objective}. Hover for sources and ranges; click a heading to sort.`;
  byId("partial").hidden = !data.partial;
  byId("partial").textContent = data.partial ? `Partial result: ${data.partial}` : "";
  byId("notes").replaceChildren(...data.notes.map((note) => element("li", { textContent: note })));
  for (const [id, key] of [["x", data.x], ["y", data.y]]) {
    byId(id).append(...data.metrics.map((one) => element("option", { value: one.key, textContent: one.title })));
    byId(id).value = key;
    byId(id).onchange = draw;
  }
  byId("search").oninput = (event) => { state.words = event.target.value; draw(); };
  byId("fits").onchange = (event) => { state.fits = event.target.checked; draw(); };
  byId("reset").onclick = () => {
    Object.assign(state, { key: null, down: false, words: "", fits: false, bounds: {}, picked: null });
    byId("search").value = "";
    byId("fits").checked = false;
    drawHead();
    draw();
  };
  drawHead();
  drawTornado();
  draw();
  addEventListener("resize", () => { drawTornado(); draw(); });
}

start();

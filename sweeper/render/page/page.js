// Values under the pointer, series that come and go, sorted tables, and ranges of parallel
// coordinates. Everything is on the page already: without this script it is only still.
"use strict";
const SVG = "http://www.w3.org/2000/svg";
const REACH = 24; // units of a figure within which the pointer finds a point

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function enliven(part) {
  part.querySelectorAll(".plot svg").forEach(draw);
  part.querySelectorAll("table").forEach(sort);
}

function draw(svg) {
  const series = [...svg.querySelectorAll("g[data-name]")].map((group) => ({
    group,
    name: group.dataset.name,
    title: group.dataset.title,
    tips: (group.dataset.tips || "").split("\n").filter(Boolean),
    points: pointsOf(group),
  }));
  toggle(svg.closest("figure"), series);
  hover(svg, series);
  if ("parallel" in svg.dataset) brush(svg, series);
}

enliven(document);

// The text of a tip: a row of the table, a number and a value, or its own lines.
function whole(svg, tip, i) {
  if ("rows" in svg.dataset) return rowOf(svg, tip);
  if (svg.dataset.tipsStart && !tip.includes(": ")) tip = `${i + 1}: ${tip}`;
  return (svg.dataset.tipsStart || "") + tip.replaceAll("\t", "\n");
}

// The row of a trial in the table of its study, a line for each cell that has a value.
function rowOf(svg, number) {
  const table = svg.closest("section").querySelector("details table");
  const row = [...table.tBodies[0].rows].find((each) => each.cells[0].textContent === number);
  return [...row.cells].map((cell, i) => [table.tHead.rows[0].cells[i], cell])
    .filter(([, cell]) => cell.textContent !== "–")
    .map(([head, cell]) => `${head.textContent}: ${cell.textContent}`).join("\n");
}

// The points of a series: its marks, or the corners of its line.
function pointsOf(group) {
  const marks = [...group.querySelectorAll("use")];
  if (marks.length) return marks.map((each) => [+each.getAttribute("x"), +each.getAttribute("y")]);
  const numbers = (group.querySelector("path")?.getAttribute("d").match(/-?[\d.]+/g) || []).map(Number);
  return Array.from({length: numbers.length / 2}, (_, i) => numbers.slice(2 * i, 2 * i + 2));
}

function place(svg, event) {
  const box = svg.getBoundingClientRect();
  const scale = svg.viewBox.baseVal.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function toggle(figure, series) {
  figure.querySelectorAll(".legend button").forEach((button) => {
    button.addEventListener("click", () => {
      const isShown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!isShown));
      series.filter((each) => each.name === button.dataset.name)
        .forEach((each) => each.group.classList.toggle("hidden", isShown));
    });
  });
}

// The distance from p to the segment between a and b.
function distance(p, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const along = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy || 1);
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
}

// The nearest point; of a series with one tip, the nearest place on its line.
function nearest(series, p) {
  let best = {far: REACH};
  series.forEach((each) => {
    if (!each.tips.length || each.group.matches(".hidden, .out")) return;
    each.points.forEach((point, i) => {
      const end = each.tips.length === 1 && each.points[i + 1] || point;
      const far = distance(p, point, end);
      if (far < best.far) best = {far, each, point, i};
    });
  });
  return best;
}

function hover(svg, series) {
  const ring = document.createElementNS(SVG, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "7");
  const leave = () => {
    tip.hidden = true;
    ring.remove();
    series.forEach((each) => each.group.classList.remove("lit"));
  };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", (event) => {
    leave();
    const {each, point, i} = nearest(series, place(svg, event));
    if (!each) return;
    each.group.classList.add("lit");
    if (each.tips.length > 1 || each.points.length === 1) {
      ring.setAttribute("cx", point[0]);
      ring.setAttribute("cy", point[1]);
      svg.append(ring);
    }
    const text = whole(svg, each.tips.length === 1 ? each.tips[0] : each.tips[i], i);
    tip.textContent = each.title ? `${each.title}\n${text}` : text;
    tip.hidden = false;
    const [right, bottom] = [innerWidth - tip.offsetWidth - 8, innerHeight - tip.offsetHeight - 8];
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, right))}px`;
    tip.style.top = `${Math.max(8, Math.min(event.clientY + 14, bottom))}px`;
  });
}

// A range is dragged along an axis; lines outside of any range fade. A click on the axis ends it.
function brush(svg, series) {
  const points = series.flatMap((each) => each.points);
  const columns = [...new Set(points.map(([x]) => x))];
  const heights = points.map(([, y]) => y);
  const [top, bottom] = [Math.min(...heights), Math.max(...heights)];
  const ranges = new Map();
  const said = document.createElement("p");
  said.className = "soft said";
  said.setAttribute("aria-live", "polite");
  said.textContent = "Drag along an axis to choose trials; click it to show all again.";
  svg.closest("figure").append(said);
  let dragged = null;
  const rectangles = columns.map((x) => {
    const rectangle = document.createElementNS(SVG, "rect");
    rectangle.setAttribute("class", "range");
    rectangle.setAttribute("x", x - 7);
    rectangle.setAttribute("width", 14);
    rectangle.setAttribute("height", 0);
    svg.append(rectangle);
    return rectangle;
  });
  function show() {
    rectangles.forEach((rectangle, i) => {
      const [low, high] = ranges.get(i) || [0, 0];
      rectangle.setAttribute("y", low);
      rectangle.setAttribute("height", high - low);
    });
    let count = 0;
    series.forEach((each) => {
      const isIn = [...ranges].every(([i, [low, high]]) => each.points.some(([x, y]) =>
        Math.abs(x - columns[i]) < 1 && y >= low - 1 && y <= high + 1));
      each.group.classList.toggle("out", !isIn);
      count += isIn;
    });
    said.textContent = `${count} of ${series.length} trials in the chosen ranges.`;
  }
  svg.addEventListener("pointerdown", (event) => {
    const [x, y] = place(svg, event);
    const i = columns.findIndex((column) => Math.abs(column - x) < 14);
    if (i < 0 || y < top - 12 || y > bottom + 12) return;
    dragged = {i, from: y};
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    const y = place(svg, event)[1];
    ranges.set(dragged.i, [Math.max(top - 3, Math.min(dragged.from, y)),
      Math.min(bottom + 3, Math.max(dragged.from, y))]);
    show();
  });
  svg.addEventListener("pointerup", (event) => {
    if (!dragged) return;
    if (Math.abs(place(svg, event)[1] - dragged.from) < 4) ranges.delete(dragged.i);
    dragged = null;
    show();
  });
}

function sort(table) {
  const heads = [...table.querySelectorAll("th")];
  const value = (row, i) => row.cells[i].title || row.cells[i].textContent;
  // A cell may have an interval or a unit behind its number. Texts and hashes are none.
  const number = (text) => /^-?[\d.]+(e[-+]?\d+)?( |%|$)/.test(text) ? parseFloat(text) : NaN;
  heads.forEach((head, i) => {
    head.tabIndex = 0;
    const order = () => {
      const isUp = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => {
        const [a, b] = [value(one, i), value(other, i)];
        if (a === "–" || b === "–") return (a === "–") - (b === "–");
        const order = number(a) - number(b) || a.localeCompare(b);
        return isUp ? order : -order;
      });
      table.tBodies[0].append(...rows);
    };
    head.addEventListener("click", order);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") order(); });
  });
}

// Every cell of a sweep is here already: a slider only changes what is shown, without the server.
const FRAME = { left: 48, right: 470, top: 14, bottom: 208 };

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Draw ticks, lines and marks, all placed between 0 and 1; those of the chosen cell are ringed. */
function draw(svg, { xTicks, yTicks, lines, marks }, chosen) {
  const x = (share) => FRAME.left + share * (FRAME.right - FRAME.left);
  const y = (share) => FRAME.bottom - share * (FRAME.bottom - FRAME.top);
  const parts = [];
  for (const [at, text] of yTicks) {
    parts.push(element("line", { class: "grid", x1: FRAME.left, x2: FRAME.right, y1: y(at), y2: y(at) }));
    parts.push(element("text", { class: "quiet", x: FRAME.left - 8, y: y(at) + 4, "text-anchor": "end" }, text));
  }
  for (const [at, text] of xTicks)
    parts.push(element("text", { class: "quiet", x: x(at), y: FRAME.bottom + 22, "text-anchor": "middle" }, text));
  const now = marks.find((mark) => mark.cell === chosen);
  if (now)
    parts.push(element("line", { class: "now", x1: x(now.x), x2: x(now.x), y1: FRAME.top, y2: FRAME.bottom }));
  for (const line of lines) {
    const points = line.points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
    parts.push(element("polyline", { class: line.colour ? "line" : "line even", stroke: line.colour, points }));
  }
  for (const mark of marks) {
    if (mark === now) parts.push(element("circle", { class: "chosen", cx: x(mark.x), cy: y(mark.y), r: 9 }));
    parts.push(element("circle", { cx: x(mark.x), cy: y(mark.y), r: 4, fill: mark.colour }));
    if (mark.text)
      parts.push(element("text", { x: x(mark.x), y: y(mark.y) - 14, "text-anchor": "middle" }, mark.text));
  }
  svg.replaceChildren(...parts);
}

function fillTable(body, rows) {
  body.replaceChildren(...rows.map(([name, ...cells]) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    row.append(head, ...cells.map(([large, small]) => {
      const cell = document.createElement("td");
      cell.append(Object.assign(document.createElement("b"), { textContent: large }));
      cell.append(Object.assign(document.createElement("small"), { textContent: small }));
      return cell;
    }));
    return row;
  }));
}

export default function ({ data, parentElement, setStateValue }) {
  const find = (selector) => parentElement.querySelector(selector);
  const sliders = { k: find("[data-slider=k]"), rate: find("[data-slider=rate]") };
  const say = (name, text) => { find(`[data-text=${name}]`).textContent = text; };

  const show = () => {
    const [k, rate] = [Number(sliders.k.value), Number(sliders.rate.value)];
    const cell = data.cells[k][rate];
    say("k", data.ks[k]);
    say("rate", data.rates[rate]);
    sliders.k.setAttribute("aria-valuetext", data.ks[k]);
    sliders.rate.setAttribute("aria-valuetext", data.rates[rate]);
    for (const name of ["winner", "why", "ours", "svd"]) say(name, cell[name]);
    fillTable(find("tbody"), cell.rows);
    for (const [name, picture, chosen] of [["by-k", data.by_k[rate], k], ["by-rate", data.by_rate[k], rate]]) {
      say(name, picture.title);
      const svg = find(`[data-chart=${name}]`);
      svg.setAttribute("aria-label", picture.alt);
      draw(svg, picture, chosen);
    }
  };

  find(".cells").style.colorScheme = data.theme; // what the browser draws of a slider
  // A rerun of the script comes back with the same grid: the sliders stay where they are.
  const grid = `${data.ks}; ${data.rates}`;
  if (sliders.k.dataset.grid !== grid) {
    sliders.k.dataset.grid = grid;
    for (const name of ["k", "rate"]) {
      sliders[name].max = data[`${name}s`].length - 1;
      sliders[name].value = data[name];
    }
  }
  for (const slider of Object.values(sliders)) {
    slider.oninput = show;
    slider.onchange = () =>
      setStateValue("cell", [Number(sliders.k.value), Number(sliders.rate.value)]);
  }
  show();
}

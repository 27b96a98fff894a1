"use strict";
// Draws the figures in the page's own colours, again when those change, and searches the map.
(() => {
  const page = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const [map, found] = [document.getElementById("map"), document.getElementById("found")];
  const traces = figures.map.data;
  const tokens = traces.map(trace => trace.text);
  const escaped = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  for (const trace of traces) {
    trace.text = trace.text.map(escaped);
    trace.name = escaped(trace.name);
  }

  // Figures name colours as the style sheet does; lists hold data and are left as they are.
  const painted = (value, colours) => {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? colours.getPropertyValue(name[1]).trim() : value;
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, painted(part, colours)]));
  };

  const title = document.title.replace(/[^\w.-]+/g, "-");
  const draw = () => {
    const colours = getComputedStyle(page);
    for (const [id, figure] of Object.entries(figures)) {
      const config = {
        displaylogo: false, responsive: true,  // no zoom by the wheel: it turns pages here
        // All by name: of itself plotly would add one that uploads the chart.
        modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
        toImageButtonOptions: { format: "png", scale: 2, filename: `${title}-${id}` },
      };
      Plotly.react(id, figure.data.map(trace => painted(trace, colours)), painted(figure.layout, colours), config);
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const fit = () => { draw(); for (const id of Object.keys(figures)) Plotly.Plots.resize(id); };
  addEventListener("beforeprint", () => { page.dataset.paper = ""; fit(); });
  addEventListener("afterprint", () => { delete page.dataset.paper; fit(); });

  for (const button of document.querySelectorAll("[data-trace]"))
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      traces[button.dataset.trace].visible = shown;
      draw();
    });

  const numbers = ({ bdata }) => new Float32Array(Uint8Array.from(atob(bdata), letter => letter.charCodeAt(0)).buffer);
  const [ringed, listed] = [2000, 40];
  const look = text => {
    const wanted = text.toLowerCase();
    const matches = [];
    tokens.forEach((some, trace) => some.forEach((token, place) => {
      if (wanted && token.toLowerCase().includes(wanted)) matches.push({ token, trace, place });
    }));
    // The closest first: the token itself, then what is little longer.
    return matches.sort((one, other) => one.token.length - other.token.length);
  };
  const ring = matches => {
    const places = traces.slice(0, tokens.length).map(trace => [numbers(trace.x), numbers(trace.y)]);
    const at = axis => matches.map(({ trace, place }) => places[trace][axis][place]);
    traces.length = tokens.length;
    for (const trace of traces) trace.marker.opacity = matches.length ? 0.15 : 0.75;
    if (matches.length)
      traces.push({
        type: "scattergl", mode: "markers", name: "Found", x: at(0), y: at(1),
        text: matches.map(({ token }) => escaped(token)), hovertemplate: "<b>%{text}</b><extra></extra>",
        marker: { size: 10, color: "rgba(0,0,0,0)", line: { width: 2, color: "var(--ink)" } },
      });
    draw();
  };
  const cell = (row, kind, text, name) => {
    const made = row.appendChild(document.createElement(kind));
    made.textContent = text;
    made.className = name;
    return made;
  };
  const list = (matches, text) => {
    found.replaceChildren();
    if (!text) return;
    const said = found.appendChild(document.createElement("p"));
    said.className = "note";
    said.textContent = matches.length
      ? `${matches.length.toLocaleString("en")} found${matches.length > listed ? `, the shortest ${listed} listed` : ""}.`
      : `No token holds “${text}”.`;
    if (!matches.length) return;
    const body = found.appendChild(document.createElement("table")).appendChild(document.createElement("tbody"));
    for (const { token, trace, place } of matches.slice(0, listed)) {
      const row = body.insertRow();
      cell(row, "th", token, "token").scope = "row";
      const subspace = cell(row, "td", "", "");
      const swatch = subspace.appendChild(document.createElement("span"));
      const { color, symbol } = traces[trace].marker;
      swatch.className = `swatch ${symbol}`;
      swatch.style.background = color;
      subspace.append(`subspace ${trace + 1}`);
      cell(row, "td", `error ${(100 * traces[trace].customdata[place]).toFixed(1)}%`, "number");
    }
  };
  let waiting;
  document.getElementById("find").addEventListener("input", event => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const text = event.target.value.trim();
      const matches = look(text);
      list(matches, text);
      ring(matches.slice(0, ringed));
    }, 150);
  });
})();

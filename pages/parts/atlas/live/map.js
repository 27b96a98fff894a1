// The control of the colours, and what stands out on the map, both without drawing it anew.
//
// Streamlit gives a chart another identity when its figure changes, which would lose zoom, camera,
// hidden subspaces and the loop that was drawn. So the figure stays, and what changes is told to
// plotly here. Plotly itself is out of reach; a figure's own buttons are not: each carries a
// command that a click carries out. The last button of the map is there to be given ours.

const views = (window.subspaceAtlasViews ??= {}); // zoom and camera, by what a map shows
const followed = new WeakSet(); // charts whose zoom and camera are kept

let tellClicked; // of the latest call: a chart that stays is followed once
export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  tellClicked = (row) => setTriggerValue('clicked', row);
  const group = parentElement.querySelector('[role=radiogroup]');
  let active = data.active;

  const mark = () => [...group.children].forEach((button, index) => {
    button.setAttribute('aria-checked', String(index === active));
    button.tabIndex = index === active ? 0 : -1;
  });
  const choose = (index) => {
    active = index;
    mark();
    apply();
    setStateValue('name', data.options[index].name);
  };
  const held = [...group.children].indexOf(document.activeElement);
  group.replaceChildren(...data.options.map((option, index) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = option.name;
    button.setAttribute('role', 'radio');
    button.title = option.lacks;
    if (option.lacks) button.setAttribute('aria-disabled', 'true');
    else button.onclick = () => choose(index);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      let next = index;
      do next = (next + step + data.options.length) % data.options.length;
      while (data.options[next].lacks && next !== index);
      group.children[next].focus();
      choose(next);
    };
    return button;
  }));
  mark();
  if (held >= 0) group.children[active].focus();

  // The chart comes after us, or is put in place of another one, and says nothing of it.
  function apply() {
    const chart = document.querySelector(`.st-key-${data.map} .js-plotly-plot`);
    if (!chart?._fullLayout?.updatemenus?.[0] || chart._transitioning) return;
    if (chart.layout.meta?.shows !== data.shows) return; // the one before
    // What a figure was told is written in it, and goes when it is put back to what it was.
    const wanted = `${active} ${data.emphasis.signature}`;
    const { applied } = chart.layout.meta;
    if (applied === wanted) return;
    if (!followed.has(chart)) follow(chart);
    const view = applied === undefined ? views[data.view] : undefined;
    // It was drawn in the first colours with nothing standing out.
    if (applied === undefined && active === 0 && !data.emphasis.stands && !view) return;
    const [update, layout, traces] = changes(chart);
    command(chart, update, { ...layout, ...view, 'meta.applied': wanted }, traces);
  }
  clearInterval(group.watch); // of the call before: with what it was told it would undo this
  group.watch = setInterval(apply, 150);
  apply();
  return () => clearInterval(group.watch);

  function follow(chart) {
    followed.add(chart);
    // Streamlit picks a point at a click, but not while a loop can be drawn, and not in space.
    chart.on('plotly_click', ({ points: [point] }) => tellClicked(point.customdata));
    chart.on('plotly_relayout', (change) => {
      const kept = Object.entries(change).filter(([path]) => /^([xy]axis\.|scene\.camera)/.test(path));
      if (!kept.length) return;
      const whole = kept.some(([path]) => path.endsWith('autorange'));
      views[data.view] = whole ? undefined : { ...views[data.view], ...Object.fromEntries(kept) };
    });
  }

  // What plotly's `update` takes: of every trace, of the layout, and which traces.
  function changes(chart) {
    const { chosen, ring } = data.emphasis;
    const count = data.count; // traces of subspaces; after them one of rings
    const [colours, layout] = buttons(chart)[active].__data__.args;
    const update = {};
    for (const [path, values] of Object.entries(colours))
      update[path] = [...Array(count).keys()].map((trace) => values[trace % values.length]);
    if (data.space) {
      if (chosen) {
        update['marker.color'] = update['marker.color'].map(
          (colour, trace) => masked(colour, chosen[trace], chart._fullData[trace].x?.length ?? 0));
      }
    } else if (chosen !== 'leave') {
      update.selectedpoints = [...Array(count).keys()].map((trace) => chosen?.[trace] ?? null);
    }
    for (const values of Object.values(update)) values.push(undefined); // rings are as they are
    for (const [path, value] of Object.entries(ring)) {
      update[path] ??= Array(count).fill(undefined).concat(undefined);
      update[path][count] = value;
    }
    return [update, layout, [...Array(count + 1).keys()]];
  }

  // In space plotly greys no points of a trace, so they are given the colour of those without one.
  function masked(colour, positions, length) {
    const inside = new Set(positions);
    const codes = colour?.bdata && Uint8Array.from(atob(colour.bdata), (letter) => letter.charCodeAt(0));
    return Array.from({ length }, (_, index) => {
      if (codes) return inside.has(index) ? codes[index] : 0;
      return inside.has(index) ? colour : data.grey;
    });
  }

  function buttons(chart) {
    return chart.querySelectorAll('g.updatemenu-button');
  }

  function command(chart, ...args) {
    const all = buttons(chart);
    const own = all[all.length - 1];
    Object.assign(own.__data__, { method: 'update', args });
    own.dispatchEvent(new MouseEvent('click'));
  }
}

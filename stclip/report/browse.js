"use strict";
// Sorts, filters and shows the predictions of the page. Text of files is only ever set as text.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const { rows, boxes, persons, frames, names, classes, kinds, runs, sizes } = read("content");
  const pictures = read("pictures");
  const PER_PAGE = 60;
  const form = document.getElementById("filters");
  const field = form.elements;
  const dialog = document.getElementById("detail");
  const byId = (id) => document.getElementById(id);
  const element = (tag, text = "", kind = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  // What rows are filtered and sorted by, a column each.
  const count = rows.kind.length;
  const people = new Int32Array(frames.frame.length);
  const personsOf = frames.frame.map(() => []);
  persons.frame.forEach((frame, person) => { people[frame] += 1; personsOf[frame].push(person); });
  const MISSED = kinds.length - 1; // the last kind
  const frameOf = new Int32Array(count);
  const area = new Float64Array(count);
  const height = new Float64Array(count); // in percent of the frame
  const size = new Int8Array(count);
  const best = new Uint8Array(count); // the row is its box's best class
  const corners = (row) => rows.box[row] < 0 ? persons.corners[rows.person[row]] : boxes.corners[rows.box[row]];
  for (let row = 0; row < count; row++) {
    const box = rows.box[row];
    frameOf[row] = box < 0 ? persons.frame[rows.person[row]] : boxes.frame[box];
    const [x1, y1, x2, y2] = corners(row);
    area[row] = Math.max(0, x2 - x1) * Math.max(0, y2 - y1);
    height[row] = 100 * Math.max(0, y2 - y1) / frames.height[frameOf[row]];
    size[row] = sizes.findLastIndex(([, least]) => area[row] >= least);
    best[row] = box < 0 || boxes.best[box][0][0] === rows.label[row];
  }
  const score = Float64Array.from(rows.score, (value) => value ?? -1); // missed: below all others
  const overlap = Float64Array.from(rows.box, (box) => box < 0 ? 0 : boxes.overlap[box]);
  const named = new Set(persons.names.flat());

  const SORTS = {
    "score, best first": [score, -1], "score, weakest first": [score, 1],
    "overlap, largest first": [overlap, -1], "overlap, smallest first": [overlap, 1],
    "size, largest first": [area, -1], "size, smallest first": [area, 1],
    "people, most first": [Int32Array.from(frameOf, (frame) => people[frame]), -1],
    "people, fewest first": [Int32Array.from(frameOf, (frame) => people[frame]), 1],
    "video and frame": [frameOf, 1],
  };

  // The controls.
  const fill = (select, options) => {
    for (const [value, text] of options) select.add(new Option(text, value));
  };
  const any = ["", "all"];
  const inOrder = (numbers) => [...numbers].sort((a, b) => names[a].localeCompare(names[b], "en"));
  fill(field.run, [any, ...runs.map((name, run) => [run, name])]);
  fill(field.label, [any, ...inOrder(classes).map((label) => [label, names[label]])]);
  fill(field.truth, [any, ...inOrder(named).map((label) => [label, names[label]]), ["-1", "nobody near"]]);
  fill(field.size, [any, ...sizes.map(([name], number) => [number, name])]);
  fill(field.people, [any, ...[...new Set(people)].sort((a, b) => a - b).map((n) => [n, n])]);
  fill(field.sort, Object.keys(SORTS).map((name) => [name, name]));
  const ticks = kinds.map(({ name, colour, meaning }, kind) => {
    const label = element("label");
    const tick = element("input");
    Object.assign(tick, { type: "checkbox", name: "kind", value: String(kind), checked: true, defaultChecked: true });
    const text = element("span", "", "kind");
    text.style.setProperty("--kind", colour);
    const number = element("small");
    text.append(name, " ", number);
    label.title = meaning;
    label.append(tick, text);
    byId("kinds").append(label);
    return { tick, number };
  });

  // What is shown.
  let found = []; // rows, in order
  let page = 0;
  let open = -1; // place in `found` of the row in the dialog

  function filtered() {
    const number = (input, otherwise) => input.value === "" || Number.isNaN(+input.value) ? otherwise : +input.value;
    const [from, to] = [number(field.from, -1), number(field.to, 2)];
    const [low, high] = [number(field.low, -1), number(field.high, Infinity)];
    const [run, label, truth, wantedSize, wantedPeople] = ["run", "label", "truth", "size", "people"].map((name) => number(field[name], null));
    const part = field.clip.value.toLowerCase();
    const inClip = part && frames.clip.map((clip) => clip.toLowerCase().includes(part));
    const onlyBest = field.best.checked;
    const wanted = ticks.map(({ tick }) => tick.checked);
    const perKind = new Int32Array(kinds.length);
    const chosen = [];
    for (let row = 0; row < count; row++) {
      const frame = frameOf[row];
      const person = rows.person[row];
      if (run !== null && rows.run[row] !== run) continue;
      if (label !== null && rows.label[row] !== label) continue;
      if (truth !== null && !(person < 0 ? truth === -1 : persons.names[person].includes(truth))) continue;
      // who is missed has no score: a lower limit leaves them out
      if (score[row] < from || score[row] > to) continue;
      if (wantedSize !== null && size[row] !== wantedSize) continue;
      if (height[row] < low || height[row] > high) continue;
      if (wantedPeople !== null && people[frame] !== wantedPeople) continue;
      if (inClip && !inClip[frame]) continue;
      if (onlyBest && !best[row]) continue;
      perKind[rows.kind[row]] += 1;
      if (wanted[rows.kind[row]]) chosen.push(row);
    }
    const [column, sign] = SORTS[field.sort.value] ?? SORTS["score, best first"];
    chosen.sort((a, b) => sign * (column[a] - column[b]) || score[b] - score[a] || a - b);
    return [chosen, perKind];
  }

  const shown = (value, digits = 2) => value === null ? "–" : value.toFixed(digits);
  const truthOf = (row) => rows.person[row] < 0 ? "nobody near" : persons.names[rows.person[row]].map((name) => names[name]).join(", ");

  function picture(row, width) {
    const frame = frameOf[row];
    if (!pictures[frame]) return null;
    const holder = element("span", "", "frame");
    holder.style.display = "block";
    const image = element("img");
    Object.assign(image, { alt: "", src: `data:image/webp;base64,${pictures[frame]}`, width: frames.width[frame], height: frames.height[frame] });
    const space = "http://www.w3.org/2000/svg";
    const drawing = document.createElementNS(space, "svg");
    drawing.setAttribute("viewBox", `0 0 ${frames.width[frame]} ${frames.height[frame]}`);
    drawing.setAttribute("aria-hidden", "true");
    const draw = ([x1, y1, x2, y2], colour, thick, dashes) => {
      const rect = document.createElementNS(space, "rect");
      const values = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1), stroke: colour, "stroke-width": thick };
      for (const [key, value] of Object.entries(values)) rect.setAttribute(key, value);
      if (dashes) rect.setAttribute("stroke-dasharray", dashes);
      drawing.append(rect);
    };
    const { colour } = kinds[rows.kind[row]];
    if (rows.box[row] >= 0) {
      draw(boxes.corners[rows.box[row]], "#fff", width + 2);
      draw(boxes.corners[rows.box[row]], colour, width);
    }
    for (const person of personsOf[frame]) {
      const missed = rows.kind[row] === MISSED && person === rows.person[row];
      draw(persons.corners[person], "#fff", missed ? width + 2 : 1.5);
      draw(persons.corners[person], missed ? colour : "#000", missed ? width : 1.5, "4 3");
    }
    holder.append(image, drawing);
    return holder;
  }

  function kindMark(row) {
    const { name, colour } = kinds[rows.kind[row]];
    const mark = element("span", name, "kind");
    mark.style.setProperty("--kind", colour);
    return mark;
  }

  function card(row, place) {
    const button = element("button");
    button.type = "button";
    const drawn = picture(row, 3);
    if (drawn) button.append(drawn);
    const says = element("span", "", "says");
    const first = element("span");
    first.append(element("b", names[rows.label[row]]), element("b", shown(rows.score[row])));
    const second = element("span");
    second.append(kindMark(row), element("small", rows.box[row] < 0 ? "" : `IoU ${shown(overlap[row])}`));
    const third = element("span");
    third.append(element("small", `annotated: ${truthOf(row)}`));
    says.append(first, second, third);
    if (runs.length > 1) says.append(element("small", runs[rows.run[row]]));
    button.append(says);
    button.addEventListener("click", () => detail(place));
    const item = element("li");
    item.append(button);
    return item;
  }

  function showPage() {
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(Math.max(0, page), pages - 1);
    const first = page * PER_PAGE;
    byId("cards").start = first + 1;
    byId("cards").replaceChildren(...found.slice(first, first + PER_PAGE).map((row, at) => card(row, first + at)));
    byId("place").textContent = `page ${page + 1} of ${pages}`;
    byId("before").disabled = page === 0;
    byId("after").disabled = page === pages - 1;
  }

  function update() {
    let perKind;
    [found, perKind] = filtered();
    page = 0;
    ticks.forEach(({ number }, kind) => { number.textContent = perKind[kind].toLocaleString("en"); });
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${count.toLocaleString("en")} predictions`;
    showPage();
    remember();
  }

  function detail(place) {
    open = place;
    const row = found[place];
    const box = rows.box[row];
    const frame = frameOf[row];
    const kind = kinds[rows.kind[row]];
    byId("detail-title").textContent = `${names[rows.label[row]]}: ${kind.name}`;
    const drawn = picture(row, 4);
    byId("detail-picture").replaceChildren(...(drawn ? [drawn] : []));
    const [x1, y1, x2, y2] = corners(row);
    const facts = {
      kind: `${kind.name}: ${kind.meaning}`,
      annotated: truthOf(row),
      score: box < 0 ? "none" : `${shown(rows.score[row], 4)}, place ${rows.rank[row].toLocaleString("en")} of its class`,
      "detector score": box < 0 ? "none" : shown(boxes.detector[box]),
      "overlap (IoU)": box < 0 ? "none" : `${shown(overlap[row])} with the person who is nearest`,
      "box, pixels": `${x1}, ${y1} to ${x2}, ${y2}; ${sizes[size[row]][0]}, ${shown(height[row], 0)}% of the frame's height`,
      "people annotated": String(people[frame]),
      video: `${frames.clip[frame]}, frame ${frames.frame[frame]}`,
      run: runs[rows.run[row]],
    };
    byId("detail-facts").replaceChildren(...Object.entries(facts).map(([key, value]) => {
      const line = element("div");
      line.append(element("dt", key), element("dd", value));
      return line;
    }));
    byId("detail-names").replaceChildren(...(box < 0 ? [] : boxes.best[box]).map(([name, value]) => {
      const line = element("div", "", "name");
      const bar = element("i");
      bar.style.setProperty("--v", Math.min(1, value));
      line.append(element("span", names[name]), bar, element("span", shown(value)));
      return line;
    }));
    byId("detail-before").disabled = place === 0;
    byId("detail-after").disabled = place === found.length - 1;
    if (!dialog.open) dialog.showModal();
  }

  const step = (by) => {
    if (found[open + by] !== undefined) detail(open + by);
  };

  // The address remembers the filters, so that a view can be sent to somebody.
  function remember() {
    const said = new URLSearchParams();
    for (const input of form.querySelectorAll("select, input")) {
      if (input.name === "kind") {
        if (!input.checked) said.append("without", kinds[+input.value].name);
      } else if (input.type === "checkbox") {
        if (input.checked) said.set(input.name, "1");
      } else if (input.value !== "" && input !== field.sort || input === field.sort && input.selectedIndex > 0) {
        const name = ["label", "truth"].includes(input.name) && names[input.value];
        said.set(input.name, name || input.value);
      }
    }
    history.replaceState(null, "", `#${said}`);
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    const without = said.getAll("without");
    ticks.forEach(({ tick }, kind) => { tick.checked = !without.includes(kinds[kind].name); });
    for (const [key, value] of said) {
      const input = key === "without" ? null : field.namedItem(key);
      if (input?.type === "checkbox") input.checked = true;
      else if (["label", "truth"].includes(key) && names.includes(value)) input.value = names.indexOf(value);
      else if (input instanceof HTMLElement && input.name) input.value = value;
    }
    for (const select of form.querySelectorAll("select")) if (select.selectedIndex < 0) select.selectedIndex = 0;
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update)); // once the fields are as they were
  byId("before").addEventListener("click", () => { page -= 1; showPage(); scrollTo(0, 0); });
  byId("after").addEventListener("click", () => { page += 1; showPage(); scrollTo(0, 0); });
  byId("close").addEventListener("click", () => dialog.close());
  byId("detail-before").addEventListener("click", () => step(-1));
  byId("detail-after").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  addEventListener("hashchange", () => { form.reset(); recall(); update(); });
  recall();
  update();
})();

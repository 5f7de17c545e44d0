// Shows what ./data tells. Texts go into the page as texts, never as HTML: names come from the portals.
"use strict";

const EVERY = 60_000;
const SOON = 3_000;
const SVG = "http://www.w3.org/2000/svg";
const number = new Intl.NumberFormat();

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.map((one) => (one instanceof Node ? one : String(one))));
  return made;
}

function link(href, text) {
  // Anything but a web address stays a text.
  return /^https?:/.test(new URL(href, document.baseURI).protocol)
    ? element("a", { href, target: "_blank", rel: "noopener noreferrer" }, text)
    : text;
}

function time(told) {
  const at = new Date(told);
  return isNaN(at) ? String(told) : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

function tile(value, what, bad = false) {
  return element("div", { class: "tile" }, element("b", bad ? { class: "bad" } : {}, value), element("span", {}, what));
}

function table(heads, rows) {
  const cell = (kind) => (one, nth) => element(kind, heads[nth][1] ? { class: heads[nth][1] } : {}, one);
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([head, style], nth) => cell("th")(head, nth)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell("td")))))));
}

function bar(parts, most, told) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", "0 0 100 10");
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", told);
  const title = document.createElementNS(SVG, "title");
  title.textContent = told;
  drawn.append(title);
  let x = 0;
  parts.forEach(([count, style]) => {
    const width = (100 * count) / most;
    const rect = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries({ x, y: 0, width, height: 10, class: style })) rect.setAttribute(key, value);
    drawn.append(rect);
    x += width;
  });
  return drawn;
}

function bars(rows) {
  const sums = rows.map(([, parts]) => parts.reduce((sum, [count]) => sum + count, 0));
  const most = Math.max(1, ...sums);
  return element("div", { class: "bars" }, ...rows.map(([name, parts, told], nth) => element("div", {},
    element("span", { title: name }, name), bar(parts, most, told), element("b", {}, number.format(sums[nth])))));
}

function head(icon, account) {
  return element("div", { class: "head" },
    element("img", { src: icon, alt: "" }), element("h2", {}, account.conn_id),
    account.host ? element("span", { class: "host" }, link(account.url, account.host)) : "",
    account.at ? element("span", { class: "note" }, `as of ${new Date(1000 * account.at).toLocaleTimeString()}`) : "");
}

function portal(one) {
  const card = element("section", { "data-portal": one.conn_id }, head("bitrix24.svg", one));
  if (one.error) card.append(element("p", { class: "error" }, one.error));
  const tiles = element("div", { class: "tiles" });
  if (one.templates) {
    tiles.append(tile(number.format(one.running), "running"), tile(number.format(one.stuck), "stuck", one.stuck > 0));
  }
  if (one.pace) {
    const { used, capacity, rate, full_rate: full, waiting, held_for: held } = one.pace;
    tiles.append(
      tile(`${number.format(Math.max(0, capacity - used))} of ${number.format(capacity)}`, "requests left at once"),
      tile(held ? `in ${Math.ceil(held)} s` : `${number.format(rate)} a second`,
        held ? "the portal takes requests again" : rate < full ? `pace; ${number.format(full)} alone` : "pace", held > 0),
      tile(number.format(waiting), "requests waiting"));
  }
  card.append(tiles);
  if (one.templates && one.templates.length) {
    card.append(element("h3", {}, "Running workflows by template and age"), element("div", { class: "legend" },
      ...one.ages.map((age, nth) => element("span", {}, element("i", { class: `age${nth}` }), age))));
    card.append(bars(one.templates.map(({ name, ages }) => [name, ages.map((count, nth) => [count, `age${nth}`]),
      `${name}: ${ages.map((count, nth) => `${number.format(count)} ${one.ages[nth]}`).join(", ")}`])));
  }
  if (one.longest_stuck && one.longest_stuck.length) {
    card.append(element("h3", {}, "Stuck, the oldest first"), table([["Workflow", "id"], ["Template"], ["Started", "time"]],
      one.longest_stuck.map(({ id, template, started }) => [
        link(`${one.url}/company/personal/bizproc/${encodeURIComponent(id)}/`, id), template, time(started)])));
  }
  return card;
}

const STATUSES = ["about to start", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED"];

function domo(one, known) {
  const card = element("section", { "data-domo": one.conn_id }, head("domo.svg", one));
  if (one.error) card.append(element("p", { class: "error" }, one.error));
  for (const { id, statuses } of one.models || []) {
    const rank = (status) => (STATUSES.indexOf(status) + STATUSES.length + 1) % (STATUSES.length + 1);
    const rows = Object.entries(statuses).sort(([one], [other]) => rank(one) - rank(other));
    card.append(element("h3", {}, `Latest instances of model ${id} by status`),
      bars(rows.map(([status, count]) => [status, [[count, "age2"]], `${count} ${status}`])));
  }
  if (known && one.models && !one.models.length) {
    card.append(element("p", { class: "note" }, "No task has worked on a workflow of this account yet."));
  }
  return card;
}

function cleanUps(rows) {
  const card = element("section", { id: "clean-ups" }, element("div", { class: "head" }, element("h2", {}, "Last clean-ups")));
  if (!rows) {
    card.append(element("p", { class: "note" }, "What tasks have reported is not available from this Airflow."));
    return card;
  }
  const airflow = new URL("../", document.baseURI);
  card.append(rows.length ? table(
    [["When", "time"], ["Task", "id"], ["Ended", "n"], ["Had ended", "n"], ["Moved on", "n"], ["Failed", "n"], ["", "why"]],
    rows.map((one) => [time(one.at), link(new URL(one.page, airflow).href, `${one.dag} · ${one.task}`),
      one.dry_run ? `${number.format(one.requested)} in a dry run` : number.format(one.ended), number.format(one.already_ended), number.format(one.moved_on),
      element("span", one.failed ? { class: "bad" } : {}, number.format(one.failed)), one.reason]))
    : element("p", { class: "note" }, "No task has reported any yet."));
  return card;
}

async function show() {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("data", { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status === 401 ? "You are logged out: open Airflow again." : `HTTP ${answer.status}`);
    const told = await answer.json();
    const cards = [...told.portals.map(portal), ...told.domo.map((one) => domo(one, told.clean_ups)), cleanUps(told.clean_ups)];
    document.getElementById("page").replaceChildren(...cards);
    // Somebody else has just begun to read them.
    if ([...told.portals, ...told.domo].some((one) => one.pending)) setTimeout(show, SOON);
    state.textContent = told.portals.length + told.domo.length
      ? "Read once a minute, for all who look." : "There is no connection of type bitrix24 or domo that you may see.";
  } catch (error) {
    state.textContent = `This could not be read: ${error.message}`;
  }
}

// Airflow's frame for this page lets no link out of it, but this page may use Airflow's own, being of the same origin.
document.addEventListener("click", (event) => {
  const clicked = event.target.closest("a");
  if (!clicked || window.parent === window) return;
  event.preventDefault();
  const { href, target, rel } = clicked;
  Object.assign(window.parent.document.createElement("a"), { href, target, rel }).click();
});

// It is also as light or dark as Airflow is, which has a switch for that.
if (window.parent !== window) {
  const airflow = window.parent.document.documentElement;
  const follow = () => {
    document.documentElement.dataset.theme = airflow.classList.contains("dark") ? "dark" : "light";
  };
  follow();
  new MutationObserver(follow).observe(airflow, { attributeFilter: ["class"] });
}

show();
setInterval(() => document.hidden || show(), EVERY);

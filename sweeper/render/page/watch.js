// Updates of the page that `sweeper watch` serves: how far the sweep is, at once, and what has
// changed in a new version of the page. What a reader has opened or sorted stays so.
"use strict";
const main = document.querySelector("main");
const live = document.querySelector("#live");
let known = sources(main); // before page.js adds anything
let isFetching = false;

const updates = new EventSource("/events");
updates.onmessage = (event) => {
  const {version, part} = JSON.parse(event.data);
  live.innerHTML = part;
  if (String(version) !== live.dataset.version && !isFetching) renew();
};
updates.onopen = () => document.body.classList.remove("lost");
updates.onerror = () => document.body.classList.add("lost");

function sources(part) {
  return [...part.children].map((each) => each.id === "live" ? "" : each.outerHTML);
}

async function renew() {
  isFetching = true;
  try {
    const answer = await fetch("/", {cache: "no-store"});
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok) show(page.querySelector("main"));
  } finally {
    isFetching = false;
  }
}

function show(part) {
  const [old, now] = [[...main.children], sources(part)];
  live.dataset.version = part.querySelector("#live").dataset.version;
  const taken = new Set();
  const wanted = [...part.children].map((each, i) => {
    const at = known.findIndex((source, k) => source === now[i] && !taken.has(k));
    taken.add(at);
    return at < 0 ? each : old[at];
  });
  wanted.filter((each) => !old.includes(each)).forEach((each) => {
    enliven(each);
    const place = (section) => section.querySelector("h2")?.id;
    const before = old.find((one) => place(one) && place(one) === place(each));
    if (before) restore(before, each);
  });
  // What has not changed is never moved, so that it keeps its focus and its place on the screen.
  old.filter((each) => !wanted.includes(each)).forEach((each) => each.remove());
  wanted.forEach((each, i) => {
    if (main.children[i] !== each) main.insertBefore(each, main.children[i] || null);
  });
  known = now;
}

// Do to a new section what a reader has done to the one before it.
function restore(before, after) {
  const pairs = (css, act) => [...before.querySelectorAll(css)].forEach((each, i) => {
    const other = after.querySelectorAll(css)[i];
    if (other) act(each, other);
  });
  pairs("details", (one, other) => { other.open = one.open; });
  pairs("th", (one, other) => {
    const clicks = ["ascending", "descending"].indexOf(one.getAttribute("aria-sort")) + 1;
    if (one.textContent === other.textContent) for (let i = 0; i < clicks; i++) other.click();
  });
  pairs(".legend button", (one, other) => {
    if (one.textContent === other.textContent && one.matches("[aria-pressed=false]")) other.click();
  });
}

// Behaviour that HTML has not: keys, times in the reader's zone, copying, dropping files, typed confirmations.
// Without it, every page still works.
"use strict";

(() => {
  // The page's language, in the reader's country if the browser names one: en-GB has no AM and PM.
  const page = document.documentElement.lang;
  const place = navigator.languages.find((each) => each === page || each.startsWith(`${page}-`)) || page;
  const day = { month: "short", day: "numeric" };
  const minute = { hour: "2-digit", minute: "2-digit" };
  const format = (parts) => new Intl.DateTimeFormat(place, parts);
  const thisYear = format({ ...day, ...minute });
  const otherYear = format({ ...day, year: "numeric", ...minute });
  const toTheSecond = format({ ...day, ...minute, second: "2-digit" });
  const exact = format({ dateStyle: "medium", timeStyle: "long" });

  function spoken(moment) {
    return (moment.getFullYear() === new Date().getFullYear() ? thisYear : otherYear).format(moment);
  }

  function worded(time, moment) {
    return "exact" in time.dataset ? toTheSecond.format(moment) : spoken(moment);
  }

  function show(time) {
    const moment = new Date(time.dateTime);
    const text = Number.isNaN(moment.getTime()) ? time.textContent : worded(time, moment);
    if (time.textContent === text) return;
    time.title = `${moment.toISOString().slice(0, 19).replace("T", " ")} UTC · ${exact.format(moment)}`;
    time.textContent = text;
  }

  const onAxis = {
    hour: format(minute),
    day: format(day),
  };

  function mark(text) {
    text.textContent = onAxis[text.dataset.by].format(new Date(text.dataset.moment));
    delete text.dataset.moment;
  }

  function all() {
    document.querySelectorAll("time[datetime]").forEach(show);
    document.querySelectorAll("text[data-moment]").forEach(mark);
  }

  // A plot reads out the figures of a point of time: that of the pointer, or that which the arrow keys reach.
  function read(plot, spot) {
    plot.querySelectorAll(".spot.on").forEach((each) => each.classList.remove("on"));
    spot.classList.add("on");
    const place = plot.parentElement.querySelector("[data-read]");
    if (!place) return;
    const told = spot.querySelector("title").textContent;
    place.textContent = told.replace(/^(\S+) (\S+) UTC/, (_, day, time) => spoken(new Date(`${day}T${time}Z`)));
  }

  document.addEventListener("keydown", (event) => {
    const plot = event.target.closest?.("[data-plot]");
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!plot || !step) return;
    event.preventDefault();
    const spots = [...plot.querySelectorAll(".spot")];
    const at = spots.findIndex((each) => each.classList.contains("on"));
    const next = at < 0 ? spots.length - 1 : Math.min(Math.max(at + step, 0), spots.length - 1);
    read(plot, spots[next]);
  });

  document.addEventListener("pointerover", (event) => {
    const spot = event.target.closest?.("[data-plot] .spot");
    if (spot) read(spot.closest("[data-plot]"), spot);
  });

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.getElementById("search");
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "?") {
      document.getElementById("help")?.togglePopover();
    }
  });

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest?.("[data-copy]");
    if (!copy) return;
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
    const before = copy.textContent;
    copy.textContent = copy.dataset.copied;
    setTimeout(() => { copy.textContent = before; }, 2000);
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-print]")) window.print();
    if (event.target.closest?.("[data-back]")) {
      event.preventDefault();
      window.history.back();
    }
  });

  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      const place = event.target.closest?.("[data-drop]");
      if (!place) return;
      event.preventDefault();
      place.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        const input = place.querySelector("input[type=file]");
        input.files = event.dataTransfer.files;
        input.dispatchEvent(new Event("change", { bubbles: true }));
      }
    });
  }

  // A change is sent once: the second click of a double one would be judged by what the first has changed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if ("sent" in form.dataset) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "";
    // Later: a button that is disabled now would not be among what is sent.
    setTimeout(() => {
      form.querySelectorAll("button:enabled").forEach((button) => {
        button.dataset.waits = "";
        button.disabled = true;
      });
    });
    setTimeout(sendable, 10000);
  });

  // Whoever comes back to the page, or still sees it after a while, can send again.
  function sendable() {
    document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; });
    document.querySelectorAll("[data-waits]").forEach((button) => {
      delete button.dataset.waits;
      button.disabled = false;
    });
  }

  window.addEventListener("pageshow", sendable);

  // A stream of the page tells that its login has ended: the page loads itself anew, and the login comes in its place.
  document.addEventListener("ended", (event) => {
    if (event.target.closest?.("[hx-sse\\:close]")) window.location.reload();
  });

  function judge(input) {
    const good = input.value.trim() === input.dataset.typed;
    input.form.querySelectorAll("button:not([formnovalidate])").forEach((button) => { button.disabled = !good; });
  }

  document.addEventListener("input", (event) => {
    if (event.target.dataset?.typed !== undefined) judge(event.target);
  });

  document.addEventListener("DOMContentLoaded", () => {
    all();
    document.querySelectorAll("[data-typed]").forEach(judge);
    new MutationObserver(all).observe(document.body, { childList: true, characterData: true, subtree: true, attributeFilter: ["datetime"] });
  });
})();

// Keeps the page as the gateway is. Each event has the rows that changed; a row is
// changed in place, so that what is open, focused or being typed stays.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const live = byId("live"), pause = byId("pause");
  let source = null, paused = false;
  let ahead = 0; // how far the gateway's clock is ahead of ours, in milliseconds

  // parse returns the element of a row. A template holds it without running anything.
  const parse = (html) => {
    const t = document.createElement("template");
    t.innerHTML = html;
    return t.content.firstElementChild;
  };

  // morph makes an element like another. What belongs to its reader stays: whether it is
  // open, and what is typed into it.
  const morph = (old, now) => {
    for (const a of [...old.attributes]) {
      if (!now.hasAttribute(a.name) && a.name !== "open") old.removeAttribute(a.name);
    }
    for (const a of now.attributes) {
      if (old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    }
    const olds = [...old.childNodes], nows = [...now.childNodes];
    nows.forEach((n, i) => {
      const o = olds[i];
      if (!o) old.append(n);
      else if (o.nodeType !== n.nodeType || o.nodeName !== n.nodeName) o.replaceWith(n);
      else if (n.nodeType === Node.ELEMENT_NODE) morph(o, n);
      else if (o.data !== n.data) o.data = n.data;
    });
    olds.slice(nows.length).forEach((o) => o.remove());
  };

  // held reports whether somebody is reading or using a row, so that it must not go.
  const held = (e) => e.open || e.contains(document.activeElement);

  const update = (name, change) => {
    const list = byId(name);
    if (!list) return;
    for (const [id, html] of Object.entries(change.rows)) {
      const old = byId(id);
      if (old) morph(old, parse(html));
    }
    if (!change.order) return;
    const order = change.order, keep = new Set(order);
    for (const e of [...list.children]) {
      if (!keep.has(e.id) && !held(e)) e.remove();
    }
    // From the last to the first, before those that are only held. A row that is in its
    // place is not moved: it would lose the focus.
    let place = null;
    for (const e of [...list.children].reverse()) {
      if (keep.has(e.id)) break;
      place = e;
    }
    for (const id of [...order].reverse()) {
      const e = byId(id) || (change.rows[id] && parse(change.rows[id]));
      if (!e) continue;
      if (e.parentNode !== list || e.nextElementSibling !== place) list.insertBefore(e, place);
      place = e;
    }
  };

  const span = (seconds) => {
    const s = Math.max(0, Math.round(seconds));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  };

  // tick counts times down and up.
  const tick = () => {
    for (const e of document.querySelectorAll("time[data-in], time[data-since]")) {
      const to = (Date.parse(e.dateTime) - Date.now() - ahead) / 1000;
      const text = "since" in e.dataset ? span(-to) : to > 0.5 ? `in ${span(to)}` : "now";
      if (e.textContent !== text) e.textContent = text;
    }
    const now = byId("now");
    if (now && document.title !== now.dataset.title) document.title = now.dataset.title;
  };

  const say = (text, state) => {
    if (live.textContent !== text) live.textContent = text;
    live.className = state;
  };

  const connect = () => {
    source = new EventSource("events");
    source.onopen = () => say("live", "on");
    source.onerror = () => say("connection lost, trying again", "off");
    source.onmessage = (event) => {
      const { at, lists } = JSON.parse(event.data);
      ahead = at - Date.now();
      for (const [name, change] of Object.entries(lists)) update(name, change);
      tick();
    };
  };

  const toggle = () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    if (paused) {
      source.close();
      say("paused", "off");
    } else connect();
  };

  pause.hidden = false;
  pause.addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, textarea, select");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      const open = document.activeElement.closest("details[open]");
      if (open) {
        open.open = false;
        open.querySelector("summary").focus();
      }
    } else if (event.key === "p" && !typing) toggle();
  });

  // A form is sent without leaving the page.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form, event.submitter));
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/plain" } });
      const text = (await answer.text()).trim();
      notice(answer.ok ? text : `not done: ${text}`, answer.ok);
      if (answer.ok) {
        const box = form.closest("details");
        box.open = false;
        box.querySelector("summary").focus();
        form.reset();
      }
    } catch {
      notice("not done: the gateway can't be reached", false);
    }
  });

  const notice = (text, good) => {
    let box = byId("notice");
    if (!box) {
      box = document.createElement("p");
      box.id = "notice";
      box.setAttribute("role", "status");
      document.querySelector("main").prepend(box);
    }
    box.className = good ? "" : "bad";
    box.textContent = text;
    clearTimeout(notice.timer);
    notice.timer = setTimeout(() => box.remove(), 8000);
  };

  connect();
  tick();
  setInterval(tick, 1000);
})();

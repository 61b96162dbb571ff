// What pages do better with JavaScript; each works without it, copying aside.
"use strict";

const seconds = () => performance.now() / 1000;

// The countdown: figures for the eye each second, words for the ear at a few moments only.
for (const place of document.querySelectorAll("[data-countdown]")) {
  const end = seconds() + Number(place.dataset.countdown);
  const [clock, words] = place.querySelectorAll("span");
  const told = new Set();
  const tick = () => {
    const left = Math.max(0, Math.ceil(end - seconds()));
    clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    const moment = [30, 60, 120, 180, 240].find((limit) => left <= limit && left > limit - 5);
    if (left === 0) {
      words.textContent = place.dataset.over;
      clock.textContent = place.dataset.over;
      return;
    }
    if (moment !== undefined && !told.has(moment)) {
      told.add(moment);
      words.textContent =
        moment < 60
          ? place.dataset.seconds.replace("{n}", moment)
          : moment === 60
            ? place.dataset.minute
            : place.dataset.minutes.replace("{n}", moment / 60);
    }
    setTimeout(tick, 1000);
  };
  tick();
}

// The progress of a generation: asks, and loads the page anew once the state is another.
for (const place of document.querySelectorAll("[data-progress]")) {
  const begun = seconds() - Number(place.dataset.since);
  const [shown, words] = place.querySelectorAll("p");
  const duration = new Intl.NumberFormat(document.documentElement.lang, {
    style: "unit",
    unit: "second",
    unitDisplay: "long",
  });
  let told = 0;
  const ask = async () => {
    const passed = Math.round(seconds() - begun);
    shown.textContent = place.dataset.text.replace("{n}", duration.format(passed));
    if (passed - told >= 10) {
      told = passed;
      words.textContent = shown.textContent;
    }
    try {
      const answer = await fetch(place.dataset.progress, { headers: { Accept: "application/json" } });
      // Another page is due where it is another state, or nobody's any more; a refusal of the moment is not.
      if (answer.ok ? (await answer.json()).state !== "generating" : answer.status < 429) {
        location.reload();
        return;
      }
    } catch {
      // The network is away for a moment; the next round asks again.
    }
    setTimeout(ask, passed < 10 ? 400 : 1500);
  };
  ask();
}

// Leaving the delivery before both parts are fetched: the browser asks once more. Its own links and
// forms lead to places that ask themselves.
const guarded = document.querySelector("[data-guard]");
if (guarded) {
  const ask = (event) => event.preventDefault();
  addEventListener("beforeunload", ask);
  for (const form of document.querySelectorAll("main form")) {
    form.addEventListener("submit", () => removeEventListener("beforeunload", ask));
  }
  for (const link of document.querySelectorAll("main a:not([target], [download])")) {
    link.addEventListener("click", () => removeEventListener("beforeunload", ask));
  }
  // A download tells its page nothing: what has been handed out is asked for, and then shown.
  const look = async (tries) => {
    try {
      const answer = await fetch(guarded.dataset.guard, { headers: { Accept: "application/json" } });
      const { fetched = [] } = answer.ok ? await answer.json() : {};
      for (const badge of document.querySelectorAll("[data-part].owed")) {
        if (!fetched.includes(badge.dataset.part)) continue;
        badge.textContent = badge.dataset.done;
        badge.classList.replace("owed", "taken");
      }
      if (fetched.length === 2) removeEventListener("beforeunload", ask);
      if (fetched.includes("keystore")) return;
    } catch {
      // The network is away for a moment; the next try asks again.
    }
    if (tries > 0) setTimeout(look, 500, tries - 1);
  };
  for (const link of document.querySelectorAll("main a[download]")) {
    link.addEventListener("click", () => setTimeout(look, 300, 20));
  }
}

// A double click sends a form once: the second code of two would make the first one worthless.
const sent = new Map();
addEventListener("submit", (event) => {
  if (event.timeStamp - (sent.get(event.target) ?? -Infinity) < 3000) event.preventDefault();
  else sent.set(event.target, event.timeStamp);
});

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const shown = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch {
      // Not allowed here: marked, so that it can be copied by hand.
      getSelection().selectAllChildren(shown);
      return;
    }
    button.textContent = button.dataset.done;
    document.querySelector("[data-copied]").textContent = button.dataset.done;
  });
}

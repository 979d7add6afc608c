// Keeps a listing up to date: asks at most once a second whether it changed, and only while it is seen.
"use strict";
(() => {
  const PAUSE = 1000;
  const news = document.getElementById("news");
  const region = () => document.getElementById("live");
  const say = (text) => { if (news && news.textContent !== text) news.textContent = text; };
  let timer = 0;
  let isAsking = false;

  const place = (element) => element && (element.id ? "#" + element.id : element.getAttribute("href"));

  async function renew() {
    const answer = await fetch(region().dataset.fill || location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    const old = region();
    if (!fresh || !old) return;
    const focused = old.contains(document.activeElement) ? place(document.activeElement) : null;
    old.replaceWith(document.adoptNode(fresh));
    if (focused) {
      const again = [...region().querySelectorAll("a, button, input, summary")].find((each) => place(each) === focused);
      if (again) again.focus();
    }
  }

  // Sizes take time: the page is there before them.
  async function fill() {
    const here = region();
    if (!here || !here.dataset.fill || new URLSearchParams(location.search).has("sizes")) return;
    try {
      await renew();
    } catch (error) {
      say("Sizes are not shown: there is no answer.");
    }
  }

  async function ask() {
    const here = region();
    if (isAsking || !here || !here.dataset.live || document.visibilityState !== "visible") return;
    isAsking = true;
    try {
      const answer = await fetch(here.dataset.live, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const mark = await answer.text();
      if (mark !== here.dataset.mark) {
        await renew();
        say("Updated at " + new Date().toLocaleTimeString());
      } else if (news && news.dataset.away) say("");
      if (news) delete news.dataset.away;
    } catch (error) {
      if (news) news.dataset.away = "1";
      say("There is no answer now. This page goes on asking.");
    } finally {
      isAsking = false;
      plan();
    }
  }

  function plan() {
    clearTimeout(timer);
    const here = region();
    if (here && here.dataset.live && document.visibilityState === "visible") timer = setTimeout(ask, PAUSE);
  }

  document.addEventListener("visibilitychange", plan);
  fill().finally(plan);
})();

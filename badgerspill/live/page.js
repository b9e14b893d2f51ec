"use strict";
// The page asks for itself once a second, and takes over the parts that have changed.
(() => {
  const parts = "#at, #summary, .tiles > li, .strips > div[id], .charts > figure, .groups > table, #events";
  const lost = document.getElementById("lost");

  // What somebody is marking, to copy it, stays until that is done.
  function marked(part) {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  }

  async function update() {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) {
      throw new Error(answer.status);
    }
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (next.body.id !== document.body.id) {
      location.reload(); // something else is served here by now
      return;
    }
    document.title = next.title;
    for (const part of document.querySelectorAll(parts)) {
      const other = next.getElementById(part.id);
      if (other && other.outerHTML !== part.outerHTML && !marked(part)) {
        part.replaceWith(document.importNode(other, true));
      }
    }
  }

  async function go() {
    if (!document.hidden) {
      try {
        await update();
        lost.hidden = true;
      } catch {
        lost.hidden = false;
      }
    }
    setTimeout(go, 1000);
  }
  setTimeout(go, 1000);
})();

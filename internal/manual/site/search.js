(function () {
  "use strict";
  const box = document.getElementById("search");
  const input = document.getElementById("q");
  const found = document.getElementById("found");
  const said = document.getElementById("said");
  const all = document.getElementById("all");
  const most = 30;

  // find ranks pages by how many of the words they hold, then by how many their
  // names hold; a name that holds all of it as it stands comes first.
  function find(words) {
    const all = words.join(" ");
    return pages
      .map(function (p) {
        let held = 0, named = p.n.includes(all) ? 1 : 0;
        for (const w of words) {
          if (p.n.includes(w)) { held++; named++; } else if (p.w.includes(w)) { held++; }
        }
        return { page: p, held: held, named: named };
      })
      .filter(function (r) { return r.held > 0; })
      .sort(function (a, b) { return b.held - a.held || b.named - a.named; });
  }

  function show() {
    const words = input.value.toLowerCase().split(/[\s"'“”]+/).map(function (w) {
      return w.replace(/^[.,;:()]+|[.,;:()]+$/g, "");
    }).filter(function (w) { return w.length > 1; });
    found.replaceChildren();
    all.hidden = words.length > 0;
    if (words.length === 0) {
      said.textContent = "";
      return;
    }
    let hits = find(words);
    const whole = hits.filter(function (r) { return r.held === words.length; });
    said.textContent = whole.length > 0
      ? whole.length + (whole.length === 1 ? " page" : " pages")
      : hits.length > 0 ? "No page has all of it; these have the most:" : "No page has any of it.";
    if (whole.length > 0) { hits = whole; }
    for (const r of hits.slice(0, most)) {
      const li = document.createElement("li");
      const a = document.createElement("a");
      a.href = r.page.f;
      a.textContent = r.page.i;
      const t = document.createElement("span");
      t.textContent = r.page.t;
      li.append(a, t);
      found.append(li);
    }
  }

  box.hidden = false;
  input.addEventListener("input", show);
  if (location.hash.startsWith("#q=")) {
    try { input.value = decodeURIComponent(location.hash.slice(3)); } catch (e) { /* not a query */ }
  }
  show();
})();

// Tables of class "sortable": a button in each column head sorts the rows; a second press turns the
// order round. Numbers are compared by the unrounded value that the cell carries. The heads of a table
// are one stop of the Tab key: the arrow keys go from one to the next.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    table.tHead.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -heads.length, End: heads.length }[event.key];
      const at = heads.indexOf(event.target.closest("th"));
      if (!step || at < 0) return;
      event.preventDefault();
      const next = heads[Math.min(Math.max(at + step, 0), heads.length - 1)].firstElementChild;
      for (const head of heads) head.firstElementChild.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = column ? -1 : 0;
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
        const body = table.tBodies[0];
        const sign = order === "ascending" ? 1 : -1;
        body.append(...[...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column], sign)));
      });
    });
  }

  function compare(a, b, sign) {
    const x = Number(a.dataset.value ?? NaN);
    const y = Number(b.dataset.value ?? NaN);
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // missing: last, always
    if (!Number.isNaN(x)) return sign * (x - y);
    return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  }
});

// A click on a column's heading sorts the table by it, its pictures with it.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent;
      return text === "" || isNaN(text) ? text : Number(text);
    };
    const sorted = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      return (x > y ? 1 : x < y ? -1 : 0) * (up ? 1 : -1);
    });
    table.tBodies[0].append(...sorted);
  });
}

// What is wider than its frame is scrolled with the arrow keys, so the Tab key must reach it; what is
// not would be a stop for nothing. And on paper, whatever is folded is open.
document.addEventListener("DOMContentLoaded", () => {
  const wide = "article pre, article .table-scroll, article .picture, mjx-container[display='true']";
  const reach = () =>
    document.querySelectorAll(wide).forEach((part, number) => {
      const scrolls =
        part.scrollWidth > part.clientWidth + 1 || part.scrollHeight > part.clientHeight + 1;
      if (!scrolls) return part.removeAttribute("tabindex");
      part.tabIndex = 0;
      if (part.hasAttribute("role") && part.hasAttribute("aria-label")) return;
      part.setAttribute("role", "region");
      const kind = part.matches("pre") ? "Code" : part.matches(".picture") ? "Figure" : "Formula";
      part.setAttribute("aria-label", `${kind} ${number + 1}`);
    });
  new ResizeObserver(reach).observe(document.querySelector("article") ?? document.body);
  document.addEventListener("toggle", reach, true); // what was folded had no width
  window.MathJax?.startup?.promise?.then(reach);
  window.addEventListener("load", () => {
    reach();
    window.MathJax?.startup?.promise?.then(reach);
  });

  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("article details.folded:not([open])")];
    for (const part of opened) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
  });
});

"use strict";
// The language: the browser's at first, then the button's.
const root = document.documentElement, button = document.getElementById("language");
function speak(chinese) {
  root.classList.toggle("zh", chinese);
  root.lang = chinese ? "zh-Hans" : "en";
  document.title = document.body.dataset[chinese ? "zh" : "en"];
  button.textContent = chinese ? "English" : "中文";
  button.lang = chinese ? "en" : "zh-Hans";
  for (const box of document.querySelectorAll("[data-label-zh]"))
    box.setAttribute("aria-label", box.dataset[chinese ? "labelZh" : "labelEn"]);
}
button.hidden = false;
button.addEventListener("click", () => speak(!root.classList.contains("zh")));
speak((navigator.language || "").toLowerCase().startsWith("zh"));

// Tables sorted by a column's header: a button, so that the keyboard works too. Numbers by size, names as people count.
const order = new Intl.Collator(undefined, { numeric: true });
const value = (row, column) => row.cells[column].textContent.replace(/[,%\s]/g, "");
function compare(one, two, sign) {
  if (!one || !two) return one ? -1 : two ? 1 : 0; // empty cells stay last
  return sign * (isNaN(one) || isNaN(two) ? order.compare(one, two) : one - two);
}
for (const head of document.querySelectorAll("th[aria-sort]"))
  head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", body = head.closest("table").tBodies[0];
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const column = head.cellIndex, rows = [...body.rows];
    rows.sort((one, two) => compare(value(one, column), value(two, column), down ? -1 : 1));
    body.append(...rows);
  });

"use strict";
// The language: the browser's at first, then the button's. Whoever writes words later calls say() and hears "language".
const root = document.documentElement, button = document.getElementById("language");
const isChinese = () => root.classList.contains("zh");
const inLanguage = (element, name) => element.dataset[name + (isChinese() ? "Zh" : "En")];
function translate(element) {
  if ("textEn" in element.dataset) element.textContent = inLanguage(element, "text");
  if ("labelEn" in element.dataset) element.setAttribute("aria-label", inLanguage(element, "label"));
  if ("hintEn" in element.dataset) element.placeholder = inLanguage(element, "hint");
}
function say(element, english, chinese, what = "text") {
  element.dataset[what + "En"] = english;
  element.dataset[what + "Zh"] = chinese;
  translate(element);
  return element;
}
function speak(chinese) {
  root.classList.toggle("zh", chinese);
  root.lang = chinese ? "zh-Hans" : "en";
  document.title = document.body.dataset[chinese ? "zh" : "en"];
  button.textContent = chinese ? "English" : "中文";
  button.lang = chinese ? "en" : "zh-Hans";
  for (const element of document.querySelectorAll("[data-text-zh], [data-label-zh], [data-hint-zh]")) translate(element);
  document.dispatchEvent(new Event("language"));
}
button.hidden = false;
button.addEventListener("click", () => speak(!isChinese()));
speak((navigator.language || "").toLowerCase().startsWith("zh"));

// A box takes the keyboard's focus only where it scrolls.
function focusable() {
  for (const box of document.querySelectorAll(".box")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
new ResizeObserver(focusable).observe(document.body);

// Tables sorted by a column's header: a button, so that the keyboard works too. Numbers by size, names as people count.
const order = new Intl.Collator(undefined, { numeric: true });
const value = (row, column) => row.cells[column].textContent.replace(/[,%\s]/g, "").replace("−", "-");
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

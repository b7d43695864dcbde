// Pictures of which one is shown at a time, chosen by buttons; without a script all are shown.
for (const box of document.querySelectorAll(".choices")) {
  const parts = [...box.querySelectorAll(":scope > [data-choice]")], bar = document.createElement("div");
  bar.className = "segmented";
  const choose = (chosen) => parts.forEach((part, place) => {
    part.classList.toggle("unchosen", place !== chosen);
    bar.children[place].setAttribute("aria-pressed", place === chosen);
  });
  for (const part of parts) {
    const button = document.createElement("button");
    button.type = "button";
    say(button, part.dataset.choiceEn, part.dataset.choiceZh);
    button.addEventListener("click", () => choose(parts.indexOf(part)));
    bar.append(button);
  }
  box.prepend(bar);
  choose(0);
}
// The table of contents is open beside the text, and where it lies above the text only while it is used.
{
  const contents = document.querySelector(".contents details"), beside = matchMedia("(min-width: 80rem)");
  const settle = () => (contents.open = beside.matches);
  beside.addEventListener("change", settle);
  contents.addEventListener("click", (event) => event.target.closest("a") && settle());
  settle();
}

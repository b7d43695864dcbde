// What the reader notes of utterances: kept in this browser under the run and its test set, until saved as a table.
function notebook({ run, digest }) {
  const place = `notes ${run} ${digest}`;
  let notes = {}, works = true;
  try {
    notes = JSON.parse(localStorage.getItem(place)) ?? {};
  } catch {
    works = false; // a private window, or storage that is switched off
  }
  return {
    of: (key) => (Object.hasOwn(notes, key) ? notes[key] : ""),
    count: () => Object.keys(notes).length,
    // Returns whether the browser keeps it.
    write(key, text) {
      if (text.trim()) notes[key] = text;
      else delete notes[key];
      try {
        localStorage.setItem(place, JSON.stringify(notes));
      } catch {
        works = false;
      }
      return works;
    },
    save() {
      const cell = (text) => text.replace(/[\t\r\n]+/g, " ");
      const rows = [["key", "note"], ...Object.entries(notes).sort(([one], [two]) => order.compare(one, two))];
      const link = document.createElement("a");
      const table = rows.map((row) => `${row.map(cell).join("\t")}\n`).join("");
      link.href = URL.createObjectURL(new Blob([table], { type: "text/tab-separated-values" }));
      link.download = `notes-${run.replace(/[^\w.-]+/g, "-")}.tsv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    },
  };
}

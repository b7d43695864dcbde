// The player at the page's foot: one clip at a time, and the next one of the list after it, if the reader wants that.
function clipPlayer({ make, words, phrase, number, changed, next }) {
  const audio = make("audio"), now = make("bdi", "now"), length = make("span", "length"), failed = make("span", "failed");
  const on = make("input"), label = make("label", "auto", on, words("span", phrase("play_next")));
  const box = make("div", "player", audio, make("span", "what", now, length, failed), label);
  let playing = null;
  audio.controls = true;
  audio.preload = "none";
  on.type = "checkbox";
  box.hidden = true;
  failed.setAttribute("role", "alert");
  // A path may hold what means something in an address: #, ?, %.
  const address = (clip) => (clip.startsWith("data:") ? clip : clip.split("/").map(encodeURIComponent).join("/"));
  const start = () => audio.play().catch(() => {}); // what went wrong is told by the error event
  function play(line) {
    if (!line.clip) return;
    if (playing === line) {
      audio.paused ? start() : audio.pause();
      return;
    }
    playing = line;
    failed.textContent = "";
    for (const name of Object.keys(failed.dataset)) delete failed.dataset[name];
    now.textContent = line.key;
    say(length, ...phrase("clip_length", { seconds: line.duration === null ? "?" : number(line.duration, 2) }));
    box.hidden = false;
    audio.src = address(line.clip);
    start();
  }
  for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, () => changed());
  audio.addEventListener("ended", () => on.checked && next(playing));
  audio.addEventListener("error", () => playing && say(failed, ...phrase("cannot_play")));
  return { box, play, pause: () => audio.pause(), isOn: (line) => playing === line, isPlaying: (line) => playing === line && !audio.paused };
}

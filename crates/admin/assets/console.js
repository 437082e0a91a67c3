// What the pages do beyond forms and links. Everything can be read and done without it.
(() => {
  "use strict";

  const say = (text) => {
    const status = document.getElementById("said");
    if (status) status.textContent = text;
  };

  // A form that is being sent cannot be sent twice, and says that it is.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.defaultPrevented || !button || !button.dataset.busy) return;
    button.setAttribute("aria-busy", "true");
    button.dataset.label = button.textContent;
    button.textContent = button.dataset.busy;
    // Disabled after the form was read.
    setTimeout(() => { button.disabled = true; }, 0);
  });

  // A page that comes back from the browser's memory is as it was before it was sent.
  window.addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[aria-busy]")) {
      button.removeAttribute("aria-busy");
      button.disabled = false;
      button.textContent = button.dataset.label;
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Browsers keep the clipboard from pages without TLS: mark the text for a copy by hand.
      getSelection().selectAllChildren(text);
      button.textContent = "Press Ctrl+C";
    }
  });

  // What is empty in a filter says nothing, and is left out of the address.
  document.addEventListener("formdata", (event) => {
    if (!event.target.matches(".filters")) return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });

  // The log goes on while one looks: asked again and again until somebody presses Live, or looks elsewhere.
  const PACE = 2000;
  const MOST_ROWS = 1000;
  const liveButton = () => document.querySelector("[data-live]");
  const isLive = () => liveButton()?.getAttribute("aria-pressed") === "true";
  const setLive = (on) => {
    liveButton().setAttribute("aria-pressed", String(on));
    liveButton().hidden = false;
  };
  const begin = () => { if (liveButton()?.hidden) setLive(true); };

  setInterval(() => {
    const tail = document.getElementById("tail");
    if (tail && isLive() && !document.hidden) htmx.trigger(tail, "tail");
  }, PACE);

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-live]")) return;
    setLive(!isLive());
    say(isLive() ? "Live: new attempts appear on top." : "Paused.");
  });

  // The answer to "what came since" says what to ask with next.
  document.addEventListener("marked", (event) => {
    const after = document.querySelector("#tail [name=after]");
    if (after) after.value = event.detail.after;
  });

  document.addEventListener("htmx:after:swap", () => {
    begin();
    const rows = document.querySelectorAll("#rows > tr[id]").length;
    const added = document.querySelectorAll("#rows > tr.new:not([data-seen])");
    added.forEach((row) => { row.dataset.seen = ""; });
    if (!added.length) return;
    document.getElementById("none")?.remove();
    document.querySelector(".table.is-empty")?.classList.remove("is-empty");
    say(added.length === 1 ? "1 new attempt." : `${added.length} new attempts.`);
    if (rows > MOST_ROWS) {
      setLive(false);
      say("Paused after 1,000 attempts. Load the page again to go on.");
    }
  });

  document.addEventListener("htmx:error", () => {
    if (isLive()) say("The log could not be asked for news; trying again.");
  });

  // A row that is open is closed by the same link.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-peek]");
    if (!link) return;
    const open = link.closest("tr").nextElementSibling;
    if (!open?.matches(".peeked")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    open.remove();
  }, true);

  begin();

  // What went wrong is where one starts reading.
  const wrong = document.querySelector("[data-focus]");
  if (wrong) wrong.focus();
})();

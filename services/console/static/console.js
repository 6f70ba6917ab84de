// Adds local times and live events to the pages. Every page works without this script.
"use strict";

// More events than these are dropped, the oldest first.
const MOST_EVENTS = 200;
const EVENT_TYPES = ["delivered", "deferred", "bounced", "expired", "held", "refused", "client_blocked"];

// Shows the local time of each time of the page as its title.
function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = at.toLocaleString();
    }
  }
}

// Returns a cell with a text. Texts come from others, so they never become elements.
function cell(text) {
  const made = document.createElement("td");
  made.textContent = text;
  return made;
}

// Returns a reply as one text. Many servers begin the text with the enhanced code, which is then shown only once.
function saying(data) {
  const said = data.reply || data.attempt;
  if (!said) {
    return data.detail || "";
  }
  const text = said.text || "";
  const code = text.startsWith(said.enhanced_code || "") ? "" : said.enhanced_code;
  return [said.code, code, text].filter(Boolean).join(" ");
}

function row(event) {
  const data = event.data;
  const made = document.createElement("tr");
  made.className = "fresh";
  const when = document.createElement("td");
  const link = document.createElement("a");
  link.textContent = event.timestamp.slice(0, 19).replace("T", " ");
  if (data.queue_id) {
    link.href = `/messages/${encodeURIComponent(data.queue_id)}`;
  }
  when.append(link);
  made.append(
    when,
    cell(event.type.replaceAll("_", " ")),
    cell(data.sender || ""),
    cell((data.recipients || []).join(", ") || data.client_address || ""),
    cell(saying(data)),
  );
  return made;
}

function follow(place) {
  const state = document.getElementById("live-state");
  const body = place.querySelector("tbody");
  const source = new EventSource(place.dataset.stream);
  source.onopen = () => {
    place.hidden = false;
    state.textContent = "Events are shown as they happen.";
  };
  source.onerror = () => {
    state.textContent = "The connection is lost. It is tried again.";
  };
  for (const type of EVENT_TYPES) {
    source.addEventListener(type, (message) => {
      body.prepend(row(JSON.parse(message.data)));
      while (body.rows.length > MOST_EVENTS) {
        body.deleteRow(-1);
      }
    });
  }
}

showLocalTimes(document);
const place = document.getElementById("live");
if (place) {
  follow(place);
}

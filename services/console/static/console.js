// What makes the pages live. Every page works without it.
"use strict";

// Times are shown in the reader's zone, with UTC as the title.
function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime()) && !time.title) {
      time.title = `${time.textContent} UTC`;
    }
  }
}

showLocalTimes(document);

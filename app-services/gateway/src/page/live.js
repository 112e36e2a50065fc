// Notifications as they happen: by WebSocket, where that doesn't work by server-sent events, and at last by asking again and again. All of
// them go on from the same cursor, so that nothing is lost or shown twice between them.

import { ask, base } from "./api.js";

/** Between two questions, and before connecting again. */
const POLL_MS = 2_000;
const AGAIN_MS = 1_000;
/** A connection that wasn't made by then won't be. */
const OPEN_MS = 5_000;
/** Another way is taken after so many failures of one. */
const FAILURES = 2;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Follows what the user is told until `stop()`. */
export function follow(told, mode) {
  const life = { over: false, cursor: null, end: null };
  const heard = (frame) => {
    if (life.over) return;
    if (frame.cursor) life.cursor = frame.cursor;
    if (frame.notification) told(frame.notification);
    if (frame.broadcast) told(frame.broadcast);
  };
  const go = async () => {
    const ways = [["socket", socket], ["stream", stream]];
    for (const [name, way] of ways) {
      for (let failures = 0; !life.over && failures < FAILURES;) {
        const opened = await way(life, heard, () => mode(name)).catch(() => false);
        failures = opened ? 0 : failures + 1;
        if (!life.over) await pause(AGAIN_MS);
      }
    }
    if (!life.over) await poll(life, heard, () => mode("polling"));
  };
  go();
  return { stop() { life.over = true; life.end?.(); } };
}

/** A browser can't send a header with either: a ticket stands for the user, once. */
async function place(life) {
  const { ticket } = await ask("POST", "/api/v1/notifications/tickets");
  const query = new URLSearchParams({ ticket });
  if (life.cursor) query.set("after", life.cursor);
  return query;
}

/** Gives whether it was open, when it has ended. */
async function socket(life, heard, opened) {
  const query = await place(life);
  const connection = new WebSocket(`${base().replace(/^http/, "ws")}/api/v1/notifications/socket?${query}`);
  return new Promise((resolve) => {
    let open = false;
    const late = setTimeout(() => { if (!open) connection.close(); }, OPEN_MS);
    life.end = () => connection.close();
    connection.onopen = () => { open = true; opened(); };
    connection.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      heard(frame);
      if (frame.notification) connection.send(JSON.stringify({ acknowledge: frame.cursor }));
    };
    connection.onclose = () => { clearTimeout(late); resolve(open); };
    if (life.over) connection.close();
  });
}

async function stream(life, heard, opened) {
  const query = await place(life);
  return new Promise((resolve) => {
    let open = false;
    const events = new EventSource(`${base()}/api/v1/notifications/stream?${query}`);
    const end = () => { events.close(); resolve(open); };
    life.end = end;
    events.onopen = () => { open = true; opened(); };
    events.onmessage = ({ data }) => heard(JSON.parse(data));
    // Its ticket is used up: it doesn't connect again by itself.
    events.onerror = end;
    if (life.over) end();
  });
}

async function poll(life, heard, opened) {
  opened();
  while (!life.over) {
    const query = life.cursor ? `?after=${encodeURIComponent(life.cursor)}` : "";
    const page = await ask("GET", `/api/v1/notifications${query}`).catch(() => null);
    for (const notification of page?.notifications ?? []) heard({ notification });
    for (const broadcast of page?.broadcasts ?? []) heard({ broadcast });
    if (page) life.cursor = page.cursor;
    if (!page?.more) await pause(POLL_MS);
  }
}

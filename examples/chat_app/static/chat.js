// The page: a list of conversations, the messages of one, and a form to ask.
// What users and models wrote reaches the page as text only, never as HTML.

const $ = (selector) => document.querySelector(selector);
const state = {
  sessions: [],
  nextSessions: null,   // the cursor of the list's next page
  current: null,        // the id of the conversation shown
  messages: [],
  older: null,          // the cursor of the messages further back
  isLoading: false,
  writing: new Set(),   // the conversations whose answers this page awaits
  editing: null,        // the id of the question being edited
};

/** Milliseconds without a word after which a draft counts as given up: the process that wrote it has ended. */
const SILENCE = 10_000;

// --- The server ---------------------------------------------------------------------------------------------------

async function call(method, path, body) {
  const response = await fetch(`api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));
    throw new Error(typeof detail === "string" ? detail : `The server answered with ${response.status}.`);
  }
  return response;
}

const get = async (path) => (await call("GET", path)).json();
const at = (session, rest = "") => `sessions/${encodeURIComponent(session)}${rest}`;

/** Yield the [event, data] of a response of server-sent events. EventSource could not send a question: it only gets. */
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [name, data] = event.split("\n", 2);
      yield [name.slice("event: ".length), JSON.parse(data.slice("data: ".length))];
    }
  }
}

/** Run what may fail, and show the reason if it does. */
async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    notify(error instanceof TypeError ? "The server cannot be reached." : error.message, "error");
  }
}

// --- Elements -----------------------------------------------------------------------------------------------------

/** Make an element; `text` is set as text. */
function make(tag, { text, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function iconButton(name, label, onclick) {
  const button = make("button", { type: "button", className: "icon", title: label, onclick }, icon(name));
  button.setAttribute("aria-label", label);
  return button;
}

/** Show a text with the little Markdown that models use most: code, bold, italics, lists. Never as HTML. */
function rendered(text) {
  const parts = text.split(/^```.*\n?/m).map((part, number) =>
    number % 2 ? make("pre", {}, make("code", { text: part.replace(/\n$/, "") })) : blocks(part));
  return parts.flat();
}

function blocks(text) {
  return text.split(/\n{2,}/).filter((block) => block.trim()).map((block) => {
    const lines = block.trim().split("\n");
    const isList = lines.every((line) => /^\s*[-*] /.test(line));
    if (!isList) return make("p", {}, ...inline(block.trim()));
    return make("ul", {}, ...lines.map((line) => make("li", {}, ...inline(line.replace(/^\s*[-*] /, "")))));
  });
}

function inline(text) {
  return text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*|\*[^*\s][^*\n]*\*)/).map((part, number) => {
    if (number % 2 === 0) return document.createTextNode(part);
    if (part.startsWith("`")) return make("code", { text: part.slice(1, -1) });
    if (part.startsWith("**")) return make("strong", { text: part.slice(2, -2) });
    return make("em", { text: part.slice(1, -1) });
  });
}

let hideNotice;
function notify(text, kind = "") {
  const notice = $("#notice");
  notice.textContent = text;
  notice.className = `shown ${kind}`;
  clearTimeout(hideNotice);
  hideNotice = setTimeout(() => { notice.className = ""; }, 6000);
}

/** Ask whether to do what cannot be undone. */
function confirmed(title, text, yes) {
  const dialog = $("#ask");
  $("#ask-title").textContent = title;
  $("#ask-text").textContent = text;
  $("#ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// --- The list of conversations --------------------------------------------------------------------------------------

async function loadSessions() {
  const page = await get("sessions");
  const first = new Set(page.sessions.map((session) => session.session_id));
  const more = state.sessions.filter((session) => !first.has(session.session_id));
  const hasMore = state.sessions.length > page.sessions.length;
  // What further pages showed stays, and so does the place at which they ended.
  state.sessions = hasMore ? [...page.sessions, ...more] : page.sessions;
  if (!hasMore) state.nextSessions = page.next_cursor;
  showSessions();
}

async function loadMoreSessions() {
  const page = await get(`sessions?cursor=${encodeURIComponent(state.nextSessions)}`);
  // A conversation that became active meanwhile is on the first page now, and was shown before.
  const shown = new Set(state.sessions.map((session) => session.session_id));
  state.sessions.push(...page.sessions.filter((session) => !shown.has(session.session_id)));
  state.nextSessions = page.next_cursor;
  showSessions();
}

const DAY = 86_400_000;
function ageOf(session) {
  const days = Math.floor((new Date().setHours(24, 0, 0, 0) - session.updated_at) / DAY);
  return days < 1 ? "Today" : days < 2 ? "Yesterday" : days < 8 ? "Last seven days" : "Earlier";
}

const titleOf = (session) => session?.title || "Untitled";

function showSessions() {
  const list = $("#sessions");
  const groups = Map.groupBy ? Map.groupBy(state.sessions, ageOf) : new Map([["", state.sessions]]);
  list.replaceChildren();
  for (const [age, sessions] of groups) {
    list.append(make("h2", { text: age }), make("ul", {}, ...sessions.map(sessionItem)));
  }
  if (state.nextSessions) {
    list.append(make("button", { type: "button", className: "more", text: "Show more",
                                 onclick: () => attempt(loadMoreSessions) }));
  }
  if (!state.sessions.length) list.append(make("p", { className: "empty", text: "Your conversations appear here." }));
  showTitle();
}

function sessionItem(session) {
  const link = make("a", { href: `#${session.session_id}`, text: titleOf(session), title: titleOf(session) });
  if (session.session_id === state.current) link.setAttribute("aria-current", "page");
  const item = make("li", {}, link);
  item.append(
    iconButton("edit", "Rename", () => item.replaceChildren(renameForm(session))),
    iconButton("trash", "Delete", () => attempt(() => deleteSession(session))),
  );
  return item;
}

function renameForm(session) {
  const input = make("input", { value: session.title ?? "", maxLength: 200, required: true });
  input.setAttribute("aria-label", "New title");
  const form = make("form", { className: "rename" }, input);
  let isOver = false;
  const end = (isKept) => {
    if (isOver) return;
    isOver = true;
    const title = input.value.trim();
    if (isKept && title && title !== session.title) attempt(() => renameSession(session, title)).then(showSessions);
    else showSessions();
  };
  form.onsubmit = (event) => { event.preventDefault(); end(true); };
  input.onkeydown = (event) => { if (event.key === "Escape") { event.stopPropagation(); end(false); } };
  input.onblur = () => end(true);
  setTimeout(() => input.select());
  return form;
}

async function renameSession(session, title) {
  Object.assign(session, await (await call("PATCH", at(session.session_id), { title })).json());
}

async function deleteSession(session) {
  const text = `“${titleOf(session)}” will be deleted with all its messages. This cannot be undone.`;
  if (!await confirmed("Delete this conversation?", text, "Delete")) return;
  await call("DELETE", at(session.session_id));
  state.sessions.splice(state.sessions.indexOf(session), 1);
  if (session.session_id === state.current) newChat();
  await loadSessions();
}

async function deleteMe() {
  const text = "All your conversations will be erased, with their drafts and alternatives. This cannot be undone.";
  if (!await confirmed("Delete all your data?", text, "Delete everything")) return;
  const { sessions } = await (await call("DELETE", "me")).json();
  state.sessions = [];
  newChat();
  await loadSessions();
  notify(`Erased: ${sessions} ${sessions === 1 ? "conversation" : "conversations"}. Nothing of yours is left.`);
}

// --- One conversation -----------------------------------------------------------------------------------------------

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function newChat() {
  history.replaceState(null, "", location.pathname);
  return open(null);
}

/** Show a conversation; null shows an empty one, which is stored with its first question. */
async function open(session) {
  closeMenu();
  Object.assign(state, { current: session, messages: [], older: null, editing: null, isLoading: session !== null });
  showSessions();
  showMessages();
  if (session) await loadMessages(session);
  if (matchMedia("(hover: hover)").matches) $("#question").focus();
}

/** Load the newest messages, and follow the draft of an answer that may be being written. */
async function loadMessages(session, mayGrow = true) {
  const page = await get(at(session, "/messages"));
  if (session !== state.current) return;
  state.isLoading = false;
  state.messages = page.messages;
  state.older = page.cursor;
  if (page.draft) state.messages.push({ role: "ai", text: page.draft.text, isDraft: true, isGrowing: mayGrow });
  showMessages();
  scrollDown();
  if (page.draft && mayGrow) attempt(() => followDraft(session));
}

/** Show an answer that another page asked for, or this one before it was reloaded, while it grows. */
async function followDraft(session) {
  const answer = state.messages.at(-1);
  let grownAt = Date.now();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    if (answer !== state.messages.at(-1)) return;
    const draft = await get(at(session, "/draft"));
    if (answer !== state.messages.at(-1)) return;
    if (!draft) return Promise.all([loadMessages(session), loadSessions()]);
    if (draft.is_here || draft.text !== answer.text) grownAt = Date.now();
    answer.text = draft.text;
    answer.isGrowing = Date.now() - grownAt < SILENCE;
    showLast();
    if (!answer.isGrowing) return showState();
  }
}

async function loadOlder() {
  const session = state.current;
  const page = await get(at(session, `/messages?before=${encodeURIComponent(state.older)}`));
  if (session !== state.current) return;
  const scroller = $("#scroller");
  const below = scroller.scrollHeight - scroller.scrollTop;
  state.messages.unshift(...page.messages);
  state.older = page.cursor;
  showMessages();
  scroller.scrollTop = scroller.scrollHeight - below;
}

function showTitle() {
  const session = state.sessions.find((each) => each.session_id === state.current);
  const title = state.current ? session?.title ?? "" : "New chat";
  $("#title").textContent = title;
  document.title = title ? `${title} · Chat` : "Chat";
}

function showMessages() {
  $("#welcome").hidden = state.isLoading || state.messages.length > 0;
  $("#load-older").hidden = !state.older;
  $("#messages").replaceChildren(...state.messages.map(messageItem));
  showState();
}

/** Show the last message again, which grows. */
function showLast() {
  const scroller = $("#scroller");
  const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  $("#messages").lastElementChild?.replaceWith(messageItem(state.messages.at(-1)));
  if (isAtEnd) scrollDown();
}

function scrollDown() {
  $("#scroller").scrollTop = $("#scroller").scrollHeight;
}

function showState() {
  const isBusy = isWriting();
  document.body.classList.toggle("busy", isBusy);
  $("#send").hidden = isBusy;
  $("#stop").hidden = !isBusy;
  $("#send").disabled = !$("#question").value.trim();
}

const isWriting = () => state.current !== null
  && (state.writing.has(state.current) || Boolean(state.messages.at(-1)?.isGrowing));

function messageItem(message) {
  if (message.id && message.id === state.editing) return editForm(message);
  const isLast = message === state.messages.at(-1);
  const item = make("li", { className: message.role });
  if (message.role === "ai") item.append(make("span", { className: "face" }, icon("logo")));
  const body = make("div", { className: "body" });
  if (message.role === "human") body.textContent = message.text;
  else body.append(...rendered(message.text));
  if (message.isGrowing) {
    item.classList.add("growing");
    item.setAttribute("aria-busy", "true");
    if (!message.text) body.append(make("p", { className: "thinking", text: "Thinking" }));
  }
  const column = make("div", { className: "column" }, body);
  if (!message.isGrowing) column.append(tools(message, isLast));
  item.append(column);
  for (const event of ["pointerenter", "focusin"]) {
    item.addEventListener(event, () => attempt(() => loadVersions(message, item)), { once: true });
  }
  return item;
}

/** Load the versions of a message further back; those of the last exchange came with it. */
async function loadVersions(message, item) {
  if (!message.id || message.versions !== undefined) return;
  message.versions = null;
  message.versions = await get(at(state.current, `/versions?of=${encodeURIComponent(message.id)}`));
  if (message.versions && item.isConnected) item.querySelector(".tools").prepend(versionSwitch(message.versions));
}

function tools(message, isLast) {
  const bar = make("div", { className: "tools" });
  if (message.versions) bar.append(versionSwitch(message.versions));
  if (message.isDraft) {
    bar.append(make("span", { className: "note", text: "This answer broke off." }),
               textButton("again", "Answer again", () => write({})));
    return bar;
  }
  bar.append(iconButton("copy", "Copy", () => attempt(() => copy(message.text))));
  // A message of another library has no id.
  if (message.id && message.role === "human") bar.append(iconButton("edit", "Edit", () => edit(message.id)));
  if (message.id && message.role === "ai") bar.append(iconButton("again", "Regenerate", () => regenerate(message)));
  if (message.role === "human" && isLast) {
    bar.classList.add("needed");
    bar.append(textButton("again", "Answer", () => write({})));
  }
  return bar;
}

function textButton(name, text, onclick) {
  return make("button", { type: "button", className: "text", onclick }, icon(name), text);
}

function versionSwitch({ ids, shown }) {
  const go = (number) => () => attempt(() => showVersion(ids[number]));
  const back = iconButton("left", "Earlier version", go(shown - 1));
  const on = iconButton("right", "Later version", go(shown + 1));
  back.disabled = shown === 0;
  on.disabled = shown === ids.length - 1;
  return make("span", { className: "versions" }, back, make("span", { text: `${shown + 1}/${ids.length}` }), on);
}

async function showVersion(version) {
  if (isWriting()) return;
  const session = state.current;
  await call("POST", at(session, "/version"), { version });
  await loadMessages(session);
}

async function copy(text) {
  if (!navigator.clipboard) throw new Error("The browser lets a page copy only over HTTPS.");
  await navigator.clipboard.writeText(text);
  notify("Copied.");
}

function edit(id) {
  if (isWriting()) return;
  state.editing = id;
  showMessages();
}

function editForm(message) {
  const field = make("textarea", { value: message.text, rows: 1, maxLength: 20_000 });
  field.setAttribute("aria-label", "Your question");
  const stop = () => { state.editing = null; showMessages(); };
  const form = make("form", { className: "box edit" }, field, make("div", { className: "choices" },
    make("button", { type: "button", text: "Cancel", onclick: stop }), make("button", { className: "primary", text: "Send" })));
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    state.editing = null;
    state.messages.splice(state.messages.indexOf(message));
    write({ text, replacing: message.id });
  };
  field.onkeydown = (event) => {
    if (event.key === "Escape") stop();
    submitOnEnter(event);
  };
  field.oninput = () => fit(field);
  setTimeout(() => { fit(field); field.focus(); field.setSelectionRange(field.value.length, field.value.length); });
  return make("li", { className: "human editing" }, form);
}

function regenerate(message) {
  if (isWriting()) return;
  state.messages.splice(state.messages.indexOf(message));
  write({ replacing: message.id });
}

/** Ask for an answer, and show it while it comes. */
async function write(wish) {
  if (isWriting()) return;
  const session = state.current ?? newId();
  if (!state.current) {
    state.current = session;
    history.replaceState(null, "", `#${session}`);
  }
  state.writing.add(session);
  state.messages = state.messages.filter((message) => !message.isDraft);
  if (wish.text) state.messages.push({ role: "human", text: wish.text });
  const answer = { role: "ai", text: "", isGrowing: true };
  state.messages.push(answer);
  showMessages();
  scrollDown();
  let isPlanned = false;
  let isListed = false;
  let hasFailed = false;
  await attempt(async () => {
    const response = await call("POST", at(session, "/answer"), wish).catch((error) => {
      giveBack(wish);
      throw error;
    });
    for await (const [event, data] of eventsOf(response)) {
      if (!isListed) attempt(loadSessions);
      isListed = true;
      if (event === "failed") {
        hasFailed = true;
        notify(data, "error");
      }
      if (event === "words") answer.text += data;
      if (isPlanned || session !== state.current) continue;
      isPlanned = true;
      requestAnimationFrame(() => {
        isPlanned = false;
        if (state.messages.at(-1) === answer) showLast();
      });
    }
  });
  state.writing.delete(session);
  answer.isGrowing = false;
  showState();
  // The stored messages have ids, by which they are edited and replaced.
  await attempt(() => Promise.all([session === state.current && loadMessages(session, !hasFailed), loadSessions()]));
}

/** Put a question that did not reach the server back into the form. */
function giveBack({ text, replacing }) {
  const field = $("#question");
  if (!text || replacing || field.value) return;
  field.value = text;
  fit(field);
}

// --- The form -------------------------------------------------------------------------------------------------------

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function submitOnEnter(event) {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
}

$("#composer").onsubmit = (event) => {
  event.preventDefault();
  const field = $("#question");
  const text = field.value.trim();
  if (!text || isWriting()) return;
  field.value = "";
  fit(field);
  write({ text });
};
$("#question").onkeydown = submitOnEnter;
$("#question").oninput = (event) => { fit(event.target); showState(); };
$("#stop").onclick = () => attempt(() => call("POST", at(state.current, "/stop")));
$("#load-older").onclick = () => attempt(loadOlder);
for (const idea of document.querySelectorAll(".ideas button")) idea.onclick = () => write({ text: idea.textContent });
for (const choice of document.querySelectorAll("#ask button")) choice.onclick = () => $("#ask").close(choice.value);

// --- The list on a narrow screen ------------------------------------------------------------------------------------

const narrow = matchMedia("(max-width: 760px)");
function setMenu(isOpen) {
  document.body.classList.toggle("menu", isOpen);
  $("#sidebar").inert = narrow.matches && !isOpen;
}
const closeMenu = () => setMenu(false);
narrow.onchange = closeMenu;
$("#open-menu").onclick = () => { setMenu(true); $("#close-menu").focus(); };
$("#close-menu").onclick = closeMenu;
$("#shade").onclick = closeMenu;
document.onkeydown = (event) => { if (event.key === "Escape") closeMenu(); };

// --- Begin ----------------------------------------------------------------------------------------------------------

$("#new-chat").onclick = () => attempt(newChat);
$("#delete-me").onclick = () => attempt(deleteMe);
window.onhashchange = () => attempt(() => open(location.hash.slice(1) || null));
await attempt(() => Promise.all([open(location.hash.slice(1) || null), loadSessions()]));

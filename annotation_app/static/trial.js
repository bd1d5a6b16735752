// The annotator's page. Gradio runs this once with `element`, the component's root; everything else comes from /api.
const root = element.querySelector("#ti2v");
const part = (name) => root.querySelector(`[data-id="${name}"]`);
const form = (name) => root.querySelector(`[data-form="${name}"]`);
const clips = { left: part("left"), right: part("right") };
const SIDES = ["left", "right"];
const CHOICE_KEYS = { left: ["A", "←"], right: ["B", "→"], tie: ["T"], both_bad: ["X"] };
const page = {
  state: { stage: "loading" }, // as the server told
  choice: null, reasons: new Set(), none: false, // the draft of an answer
  told: null, telling: Promise.resolve(), // the choice that the server holds, and what is under way to it
  seen: { left: false, right: false }, loops: 0, ended: { left: false, right: false },
  open: false, busy: false, paused: false, ready: new Map(), // address -> object URL of a preloaded file
};

// ---- talking to the server: an answer is kept and sent again until the server has taken it

// In a frame of another site a browser may refuse its storage: then memory has to do.
const kept = (() => {
  try {
    sessionStorage.setItem("ti2v-try", "");
    sessionStorage.removeItem("ti2v-try");
    return sessionStorage;
  } catch {
    const memory = new Map();
    return { getItem: (name) => memory.get(name) ?? null, setItem: (name, value) => memory.set(name, value), removeItem: (name) => memory.delete(name) };
  }
})();

const bearer = new URLSearchParams(location.hash.slice(1)).get("s");
if (bearer) {
  kept.setItem("ti2v-session", bearer); // in a frame, where cookies are not sent
  history.replaceState(null, "", location.pathname);
}

const PATIENCE = 30000; // milliseconds

async function ask(path, body) {
  const headers = {};
  const session = kept.getItem("ti2v-session");
  if (session) headers.authorization = `Bearer ${session}`;
  if (body) headers["content-type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store" };
  for (let attempt = 0; ; attempt++) {
    const reply = await once(path, options);
    if (reply && ![429, 502, 503, 504].includes(reply.status)) {
      banner("");
      return reply;
    }
    banner(reply && reply.status === 429
      ? "That was very fast. One moment…"
      : "No connection to the study just now. What you answered is kept and sent as soon as it is back.");
    await new Promise((done) => setTimeout(done, Math.min(300 * 2 ** attempt, 4000)));
  }
}

// The reply, or null if there is none: where what is sent gets lost on the way, a request would hang for minutes.
async function once(path, options) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE);
  try {
    const reply = await fetch(`/api/${path}`, { ...options, signal: patience.signal });
    const body = await reply.json().catch((error) => {
      if (patience.signal.aborted) throw error;
      return {}; // a proxy's page
    });
    return { status: reply.status, ...body };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}

async function act(path, body) {
  if (page.busy) return null;
  page.busy = true;
  lock();
  try {
    const reply = await ask(path, body);
    if (reply.message) banner(reply.message, 6000);
    if (reply.feedback) await feedback(reply.feedback);
    if (reply.state) show(reply.state, reply.previous);
    else if (reply.status === 401) show((await ask("state")).state);
    return reply;
  } finally {
    page.busy = false;
    lock();
  }
}

function banner(text, milliseconds) {
  const box = part("banner");
  clearTimeout(page.bannerTimer);
  box.textContent = text;
  box.hidden = !text;
  if (milliseconds) page.bannerTimer = setTimeout(() => banner(""), milliseconds);
}

const say = (text) => { part("status").textContent = text; };

// ---- stages

function show(state, previous) {
  const before = page.state;
  page.state = state;
  const stage = { task: "task", door: "door", consent: "consent", instructions: "instructions", check: "check" }[state.stage] || "finished";
  for (const section of root.querySelectorAll("section")) section.hidden = section.dataset.stage !== stage;
  if (stage === "task") showTask(state, before, previous);
  else stopClips();
  if (stage === "door") showDoor(state);
  if (stage === "check") showCheck(state, before);
  if (stage === "finished") showEnd(state);
  if (stage !== before.stage && stage !== "task") {
    window.scrollTo(0, 0);
    const heading = root.querySelector(`section[data-stage=${stage}] h1`);
    heading.tabIndex = -1;
    if (before.stage !== "loading") heading.focus({ preventScroll: true });
  }
}

function showDoor(state) {
  part("study").textContent = state.study;
  part("openDoor").hidden = !state.open;
  part("closedDoor").hidden = state.open;
  if (state.open) root.querySelector("input[name=name]").focus({ preventScroll: true }); // the page's only task: type at once
}

function showCheck(state, before) {
  if (before.stage === "check") {
    part("checkNote").textContent = `Not all answers were right. Please read the instructions again; tries left: ${state.attempts_left}.`;
  }
  const box = part("questions");
  box.replaceChildren(...state.check.map((question, number) => {
    const set = document.createElement("fieldset");
    const legend = document.createElement("legend");
    legend.textContent = `${number + 1}. ${question.text}`;
    set.append(legend, ...question.options.map((text, option) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: `q${number}`, value: option, required: true });
      label.append(input, text);
      return label;
    }));
    return set;
  }));
}

function showEnd(state) {
  const texts = {
    completed: ["Thank you", `You answered ${state.answered} tasks. Your answers are saved.`],
    full: ["Thank you for coming", "All tasks of this study have been given out. There is nothing left to do."],
    screened: ["Thank you", "This study is over for you here. You may close the page."],
    paused: ["A pause", "The study is paused. Your answers are saved; please come back later."],
    closed: ["Thank you", "Your part in this study has ended. You may close the page."],
    preview: ["Preview", "Accept the task to begin. You will compare pairs of short videos and say which is better and why."],
  };
  const [title, text] = texts[state.outcome || state.stage] || texts.screened;
  part("endTitle").textContent = title;
  part("endText").textContent = text;
  part("endCode").hidden = !state.code;
  part("code").textContent = state.code || "";
  part("endLink").hidden = !state.url;
  if (state.url) part("endLink").href = state.url;
  part("more").hidden = !(state.more || state.stage === "paused");
  part("endUndo").hidden = !state.undo;
  part("leave").hidden = state.door !== "open";
  showSubmission(state);
  if (state.url && state.redirect) setTimeout(() => { if (page.state === state) location.assign(state.url); }, 4000);
}

function showSubmission(state) {
  const box = part("endForm");
  box.hidden = !state.submit;
  if (!state.submit) return;
  box.action = state.submit.url;
  box.replaceChildren(...Object.entries(state.submit.fields).map(([name, value]) =>
    Object.assign(document.createElement("input"), { type: "hidden", name, value })));
  const button = Object.assign(document.createElement("button"), { type: "submit", className: "primary", textContent: "Submit the assignment" });
  box.append(button);
}

// ---- one task

function showTask(state, before, previous) {
  part("count").textContent = state.training ? `Practice ${state.done + 1} of ${state.total}` : `${state.done + 1} of ${state.total}`;
  part("bar").max = state.total || 1;
  part("bar").value = state.done;
  root.querySelector(".tools [data-act=undo]").disabled = !state.undo;
  page.told = state.choice;
  if (before.token === state.token) return; // e.g. a refused answer: the draft stays
  const draft = previous ? { ...previous, none: SIDES.includes(previous.choice) && !previous.reasons.length, seen: true } : readDraft(state.token);
  if (state.choice) draft.seen = true;
  Object.assign(page, { choice: draft.choice || state.choice, reasons: new Set(draft.reasons || []), none: Boolean(draft.none), loops: 0, paused: false });
  page.seen = { left: Boolean(draft.seen), right: Boolean(draft.seen) };
  page.open = Boolean(draft.seen);
  page.started = performance.now();
  if (previous) keepDraft();
  part("prompt").textContent = state.prompt;
  part("image").src = address(state.image);
  buildOptions(state);
  startClips(state);
  paint();
  part("promptBox").focus({ preventScroll: true });
  window.scrollTo(0, 0);
  say(`Task ${state.done + 1} of ${state.total}. Prompt: ${state.prompt}`);
  if (state.rest && before.stage === "task") rest(state);
}

function buildOptions(state) {
  const choices = part("choices");
  choices.className = `options ${state.choices.length > 2 ? "four" : "two"}`;
  choices.replaceChildren(...state.choices.map(({ key, label }) => option("radio", "choice", key, label, CHOICE_KEYS[key])));
  const reasons = state.reasons.map(({ key, label }, number) => option("checkbox", "reason", key, label, [String(number + 1)]));
  part("reasons").replaceChildren(...reasons, option("checkbox", "none", "none", "None of these", ["0"]));
}

function option(type, name, value, text, keys) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type, name, value });
  const caption = document.createElement("span");
  caption.textContent = text;
  for (const key of keys) {
    const hint = document.createElement("kbd");
    hint.textContent = key;
    hint.setAttribute("aria-hidden", "true");
    caption.append(" ", hint);
  }
  label.append(input, caption);
  return label;
}

const mayChoose = () => page.state.stage === "task" && page.open && !page.busy;
const sided = () => SIDES.includes(page.choice);
const complete = () => mayChoose() && page.choice && (!sided() || page.reasons.size > 0 || page.none);

function choose(value) {
  if (!mayChoose() || page.choice === value) return;
  page.choice = value;
  page.reasons.clear(); // they spoke for the other one
  page.none = false;
  keepDraft();
  paint();
  say(sided() ? `You chose ${value === "left" ? "A" : "B"}. Now say what speaks for it.` : "You can submit now.");
  tell();
}

// The choice goes to the server before any reason does, one request after the other; the newest choice wins.
function tell() {
  const { token } = page.state;
  page.telling = page.telling.then(async () => {
    const { choice } = page;
    if (page.state.token !== token || choice === page.told) return;
    const reply = await ask("choose", { token, choice });
    if (page.state.token !== token) return;
    if (reply.chosen) {
      page.told = choice;
      return;
    }
    page.choice = null;
    banner(reply.message || "This could not be saved. Please choose again.", 6000);
    show(reply.state || (await ask("state")).state);
    lock();
  });
  return page.telling;
}

function mark(reason) {
  if (!mayChoose() || !sided()) return;
  if (reason === "none") {
    page.none = !page.none;
    page.reasons.clear();
  } else {
    page.none = false;
    if (!page.reasons.delete(reason)) page.reasons.add(reason);
  }
  keepDraft();
  paint();
}

function lock() {
  if (page.state.stage === "task") paint();
}

function paint() {
  part("leftSeen").hidden = !page.seen.left;
  part("rightSeen").hidden = !page.seen.right;
  part("choiceSet").disabled = !mayChoose();
  part("reasonSet").disabled = !(mayChoose() && sided());
  part("gate").classList.toggle("gone", Boolean(page.open)); // its place stays: nothing moves under a finger
  part("submit").disabled = !complete();
  part("chosen").textContent = page.choice === "left" ? "A" : page.choice === "right" ? "B" : "it";
  part("playLabel").textContent = page.paused ? "Play" : "Pause";
  for (const input of root.querySelectorAll(".answer input")) {
    input.checked = input.name === "choice" ? input.value === page.choice : input.name === "none" ? page.none : page.reasons.has(input.value);
  }
  for (const figure of root.querySelectorAll(".clip")) figure.classList.toggle("chosen", figure.dataset.side === page.choice);
}

async function submit() {
  if (!complete()) return;
  const answer = { token: page.state.token, choice: page.choice, reasons: [...page.reasons], loops: page.loops };
  page.busy = true;
  lock();
  await tell().finally(() => { page.busy = false; lock(); });
  if (page.state.token !== answer.token || page.told !== answer.choice) return; // the page says why
  const reply = await act("vote", answer);
  if (reply && reply.saved) kept.removeItem(`ti2v:${answer.token}`);
}

function keepDraft() {
  const draft = { choice: page.choice, reasons: [...page.reasons], none: page.none, seen: page.open };
  kept.setItem(`ti2v:${page.state.token}`, JSON.stringify(draft));
}

function readDraft(token) {
  try {
    return JSON.parse(kept.getItem(`ti2v:${token}`)) || {};
  } catch {
    return {};
  }
}

// ---- the two videos: started together, restarted when both have ended

function startClips(state) {
  page.ended = { left: false, right: false };
  for (const [side, clip] of Object.entries(clips)) {
    clip.src = address(state[side]);
    clip.load();
  }
  preload(state.next);
}

function stopClips() {
  for (const clip of Object.values(clips)) clip.pause();
}

function together() {
  if (page.paused || page.state.stage !== "task" || part("dialog").open) return;
  if (clips.left.readyState < 3 || clips.right.readyState < 3) return;
  for (const clip of Object.values(clips)) {
    clip.play().catch((error) => {
      if (error.name !== "NotAllowedError") return; // the next task's clips came in between
      page.paused = true; // the browser wants a click first
      paint();
    });
  }
}

function restart() {
  page.ended = { left: false, right: false };
  for (const clip of Object.values(clips)) clip.currentTime = 0;
  together();
}

function openAnswer(token) {
  if (page.state.token !== token) return;
  page.open = true;
  keepDraft();
  paint();
  say("You can choose now.");
}

function ended(side) {
  page.ended[side] = true;
  if (!page.seen[side]) {
    page.seen[side] = true;
    // The server opens the answer when the clips' time has passed since it served the task; never be ahead of it.
    const early = page.state.seconds * 1000 - (performance.now() - page.started);
    if (page.seen.left && page.seen.right) setTimeout(openAnswer, Math.max(0, early), page.state.token);
    paint();
  }
  if (page.ended.left && page.ended.right) {
    page.loops += 1;
    restart();
  }
}

for (const [side, clip] of Object.entries(clips)) {
  clip.addEventListener("canplay", together);
  clip.addEventListener("ended", () => ended(side));
  clip.addEventListener("error", () => {
    if (clip.getAttribute("src")) banner(`Video ${side === "left" ? "A" : "B"} could not be loaded. Reload the page, or press P to report it.`);
  });
}

function togglePlay() {
  page.paused = !page.paused;
  if (page.paused) stopClips();
  else if (page.ended.left && page.ended.right) restart();
  else for (const [side, clip] of Object.entries(clips)) if (!page.ended[side]) clip.play().catch(() => {});
  paint();
}

function replay() {
  page.paused = false;
  restart();
  paint();
}

async function preload(next) {
  for (const [url, object] of page.ready) {
    if (![page.state.image, page.state.left, page.state.right].includes(url)) {
      URL.revokeObjectURL(object);
      page.ready.delete(url);
    }
  }
  for (const url of Object.values(next || {})) {
    try {
      const reply = await fetch(url, { priority: "low" });
      if (reply.ok) page.ready.set(url, URL.createObjectURL(await reply.blob()));
    } catch {
      return; // the page will load it in its turn
    }
  }
}

const address = (url) => page.ready.get(url) || url;

// ---- dialogs

// Each opening is an element of its own: a close event comes after its dialog is gone, maybe with the next one open.
function freshDialog() {
  const last = part("dialog");
  last.close();
  const box = last.cloneNode(true);
  last.replaceWith(box);
  return box;
}

function dialog(title, content, buttons) {
  const box = freshDialog();
  part("dialogTitle").textContent = title;
  part("dialogText").replaceChildren(content);
  stopClips();
  return new Promise((done) => {
    part("dialogButtons").replaceChildren(...buttons.map(([label, value], number) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label, className: number ? "" : "primary" });
      button.addEventListener("click", () => box.close(value));
      return button;
    }));
    box.onclose = () => { done(box.returnValue); together(); };
    box.returnValue = "";
    box.showModal();
    part("dialogButtons").querySelector("button").focus();
  });
}

const paragraph = (text) => Object.assign(document.createElement("p"), { textContent: text });

const help = () => {
  const copy = document.createElement("div");
  copy.innerHTML = part("helpText").innerHTML;
  return dialog("Instructions", copy, [["Back to the task", "ok"]]);
};
const rest = (state) => dialog("Time for a short break?", paragraph(`You have done ${state.done} of ${state.total}. Look away from the screen for a moment; go on when you like.`), [["Go on", "ok"]]);
const feedback = ({ correct, note }) => dialog(correct ? "Right" : "Not quite", paragraph(correct ? `Yes. ${note}` : `The other one is better here. ${note}`), [["Continue", "ok"]]);

async function broken() {
  if (page.state.stage !== "task" || page.busy) return;
  const which = await dialog("A video does not play", paragraph("Which one? The task is put aside and recorded as not playable."), [["Back to the task", ""], ["A", "left"], ["B", "right"], ["Both", "both"]]);
  if (which) act("broken", { token: page.state.token, which });
}

// ---- buttons, forms, keys

const actions = {
  agree: () => act("consent", { agreed: true }),
  decline: () => act("consent", { agreed: false }),
  begin: () => act("begin", {}),
  undo: () => { if (page.state.undo) act("undo", { token: page.state.token || "" }); },
  more: () => (page.state.stage === "paused" ? ask("state").then(({ state }) => show(state)) : act("more", {})),
  leave: () => { kept.removeItem("ti2v-session"); act("leave", {}); },
  play: togglePlay, replay, broken, help,
};

root.addEventListener("click", (event) => {
  const name = event.target.closest("[data-act]")?.dataset.act;
  if (!name) return;
  event.preventDefault();
  actions[name]();
  if (page.state.stage === "task" && event.detail && !part("dialog").open) part("promptBox").focus({ preventScroll: true });
});

form("vote").addEventListener("change", (event) => {
  const { name, value } = event.target;
  if (name === "choice") choose(value);
  else mark(name === "none" ? "none" : value);
  paint();
  if (page.pointed) part("promptBox").focus({ preventScroll: true });
});
// After a click the focus goes back to the prompt, so that Space and Enter keep their meaning for the whole task.
form("vote").addEventListener("pointerdown", () => { page.pointed = true; });
form("vote").addEventListener("mousedown", (event) => { if (event.target.closest("label")) event.preventDefault(); });
form("vote").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
form("enter").addEventListener("submit", (event) => { event.preventDefault(); act("enter", { name: event.target.elements.name.value }); });
form("check").addEventListener("submit", (event) => {
  event.preventDefault();
  const picked = page.state.check.map((_, number) => Number(new FormData(event.target).get(`q${number}`)));
  act("check", { answers: picked, attempts_left: page.state.attempts_left });
});

function taskKey(key) {
  const choices = { a: "left", arrowleft: "left", b: "right", arrowright: "right", t: "tie", x: "both_bad" };
  if (choices[key]) {
    if (page.state.choices.some((entry) => entry.key === choices[key])) choose(choices[key]);
  } else if (/^[1-4]$/.test(key)) mark(page.state.reasons[Number(key) - 1].key);
  else if (key === "0") mark("none");
  else if (key === "enter") submit();
  else if (key === " ") togglePlay();
  else if (key === "r") replay();
  else if (key === "u") actions.undo();
  else if (key === "p") broken();
  else return false;
  return true;
}

function pageKey(key) {
  if (key === "u" && page.state.undo) return actions.undo(), true;
  const proceed = { consent: actions.agree, instructions: actions.begin }[page.state.stage];
  if (key !== "enter" || !proceed) return false;
  proceed();
  return true;
}

document.addEventListener("keydown", (event) => {
  page.pointed = false;
  if (event.ctrlKey || event.altKey || event.metaKey || part("dialog").open || !root.isConnected) return;
  const key = event.key.toLowerCase();
  const focus = document.activeElement;
  if (focus?.matches("input[name=name], textarea, select")) return;
  const onControl = focus?.matches("button, a, input") && root.contains(focus);
  if (onControl && (key === " " || (key === "enter" && !focus.matches("input")))) return; // the control's own meaning
  if (event.repeat && key !== "arrowleft" && key !== "arrowright") return event.preventDefault();
  const taken = key === "?" ? (help(), true) : page.state.stage === "task" ? taskKey(key) : pageKey(key);
  if (taken) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }
}, true);

if (location.hash === "#preview") show({ stage: "preview" });
else ask("state").then(({ state }) => show(state));

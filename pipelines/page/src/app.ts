/** The page: what a person does with it, and what they see of that. The work is done in worker.ts. */

import { showCard } from "./about.ts";
import { Boxes } from "./boxes.ts";
import { shoot } from "./camera.ts";
import { Cancelled, Client } from "./client.ts";
import { decode, type Frame, type Photo } from "./decode.ts";
import { byId, made, onClick } from "./dom.ts";
import type { Box } from "./image.ts";
import { sha256, xmpMark } from "./mark.ts";
import { type Model, modelOf, modelsOf, type Open } from "./models.ts";
import { insideEllipse, type Put, putMosaic, touchedBy } from "./mosaic.ts";
import { download, encode, type Format, nameFor } from "./save.ts";
import { type Stored, stored, taken } from "./store.ts";
import { type Point, type Tool, Viewer } from "./viewer.ts";
import { hasPlaces, type Place } from "./whole.ts";

type State = "waiting" | "working" | "done" | "nothing" | "failed" | "stopped";

/** A photo that was given, and what became of it. */
interface Item {
  readonly name: string;
  readonly file: Blob;
  info: Omit<Photo, "frames"> | null; // once it is decoded
  original: Stored[]; // its frames
  before: Stored[]; // with the mosaics that were put on
  after: Stored[] | null;
  places: Place[] | null; // that a person chose; null: they are looked for
  found: readonly (readonly Place[])[]; // of each frame, where something was restored
  version: number; // grows when it has to be restored anew
  strength: number; // percent
  state: State;
  sentence: string;
  notes: readonly string[];
}

const WORDS: Readonly<Record<State, string>> = {
  waiting: "waiting", working: "…", done: "restored", nothing: "nothing found", failed: "failed", stopped: "cancelled",
};
const site = new URL("./", location.href).href;
const client = new Client(site);
const viewer = new Viewer((tool, points) => void drawn(tool, points));
const boxes = new Boxes((event) => viewer.pointAt(event), (number, box) => void boxChanged(number, box));
const items: Item[] = [];
let models: Model[] = [], open: Open | null = null, selected: Item | null = null, isBusy = false, taken_ = new Set<string>();

// --- models

async function start(): Promise<void> {
  try {
    models = await modelsOf(site);
    if (models[0]) await choose(models[0]);
    else say("There is no model yet: open a model file.", true);
  } catch (error) {
    say(sentenceOf(error), true);
  }
}

async function choose(model: Model): Promise<void> {
  const busy = isBusy;
  try {
    if (busy) await stop();
    showWork(0, `loading ${model.name}`);
    const bytes = await model.bytes((share) => showWork(0.9 * share, `loading ${model.name}`));
    showWork(0.95, `preparing ${model.name}`);
    const { card, device } = await client.open(bytes);
    open = { name: model.name, card, device, sha256: await sha256(bytes) };
    if (!models.includes(model)) models.push(model);
    for (const item of items) anew(item, null);
    say(items.length ? "" : `${model.name} is ready.`);
  } catch (error) {
    if (!(error instanceof Cancelled)) say(`${model.name}: ${sentenceOf(error)}`, true);
  } finally {
    showWork(null);
    showModels();
    render();
    void work();
  }
}

function showModels(): void {
  const select = byId<HTMLSelectElement>("model");
  select.replaceChildren(...models.map(({ name }) => new Option(name)));
  select.selectedIndex = models.findIndex(({ name }) => name === open?.name);
  select.disabled = models.length < 2;
  byId<HTMLButtonElement>("about").disabled = !open;
  byId("device").textContent = open ? `${open.name} runs on ${open.device}.` : "";
}

// --- photos

function add(files: Iterable<File>): void {
  const before = items.length;
  for (const file of files) {
    if (/\.onnx$/i.test(file.name)) {
      void choose(modelOf(file));
      continue;
    }
    items.push({
      name: file.name, file, info: null, original: [], before: [], after: null, places: null, found: [], version: 0, strength: 100,
      state: "waiting", sentence: "", notes: [],
    });
  }
  if (items.length > before) void select(items[before]);
  void work();
}

async function select(item: Item | null): Promise<void> {
  selected = item;
  render();
  await show();
}

function remove(item: Item): void {
  const at = items.indexOf(item);
  items.splice(at, 1);
  item.version++;
  if (item.state === "working") void stop();
  if (item === selected) void select(items[Math.min(at, items.length - 1)] ?? null);
  else render();
}

/** The item is to be restored anew, in places that are looked for (null) or given. */
function anew(item: Item, places: Place[] | null): void {
  item.version++;
  item.places = places;
  if (item.state !== "failed" || item.info) item.state = "waiting";
}

// --- restoring, one photo after the other

async function work(): Promise<void> {
  if (isBusy || !open) return;
  isBusy = true;
  try {
    const waits = (item: Item | null): item is Item => item?.state === "waiting";
    for (let item; (item = waits(selected) ? selected : items.find(waits)); ) await restore(item);
  } finally {
    isBusy = false;
    showWork(null);
    render();
  }
}

async function restore(item: Item): Promise<void> {
  const { version } = item;
  item.state = "working";
  render();
  let state: State = "failed";
  try {
    showWork(0, `reading ${item.name}`);
    if (!item.info) await load(item);
    state = await restoreFrames(item, version);
  } catch (error) {
    if (error instanceof Cancelled) state = "stopped";
    item.sentence = state === "stopped" ? "" : sentenceOf(error);
    item.notes = [];
    if (item.version === version) item.after = null;
  }
  item.state = item.version === version ? state : "waiting";
  render();
  if (item === selected) await show();
}

async function load(item: Item): Promise<void> {
  const { frames, ...info } = await decode(item.file);
  item.original = item.before = frames.map(stored);
  item.info = info;
  byId<HTMLInputElement>("block").value = String(Math.min(64, Math.max(8, Math.round(Math.max(frames[0].rgb.width, frames[0].rgb.height) / 64))));
  if (item === selected) await show();
}

async function restoreFrames(item: Item, version: number): Promise<State> {
  const count = item.before.length, began = performance.now(), made: Stored[] = [], found: (readonly Place[])[] = [];
  const notes = new Set(item.info?.note ? [item.info.note] : []);
  let some = false;
  for (const [number, each] of item.before.entries()) {
    const frame = await taken(each), key = `${items.indexOf(item)} ${item.name} ${version} ${number}`;
    const job = { rgb: frame.rgb, coarse: item.info?.coarse ?? false, strength: item.strength / 100, places: item.places };
    const outcome = await client.restore(job, key, (share, doing) =>
      showWork((number + share) / count, count > 1 ? `frame ${number + 1} of ${count}: ${doing}` : `${item.name}: ${doing}`));
    some ||= outcome !== null;
    made.push(outcome ? stored({ ...frame, rgb: outcome.made }) : each);
    found.push(outcome?.places ?? []);
    for (const note of outcome?.notes ?? []) notes.add(note);
  }
  if (item.version !== version) return "waiting";
  [item.found, item.notes, item.after] = [found, [...notes], some ? made : null];
  item.sentence = some ? toldOf(item, (performance.now() - began) / 1000) : "";
  return some ? "done" : "nothing";
}

function toldOf(item: Item, seconds: number): string {
  const frames = item.before.length > 1 ? `${item.before.length} frames, ` : "", count = item.found[0].length;
  const what = open?.card.task === "mosaic" ? ["mosaic", "mosaics"] : ["face", "faces"];
  const places = open && hasPlaces(open.card) && item.before.length === 1 ? `${count} ${what[count === 1 ? 0 : 1]}, ` : "";
  return `Restored: ${frames}${places}${seconds.toFixed(1)} s.`;
}

async function stop(): Promise<void> {
  for (const item of items) if (item.state === "waiting") item.state = "stopped";
  render();
  await client.cancel().catch((error: unknown) => say(sentenceOf(error), true));
}

// --- what is looked at

async function show(): Promise<void> {
  const item = selected;
  byId("empty").hidden = items.length > 0;
  byId("viewer").hidden = !item?.before.length;
  if (!item?.before.length) return;
  const number = Math.min(Number(byId<HTMLInputElement>("frame").value), item.before.length) - 1;
  const wasThere = byId<HTMLInputElement>("was-there").checked && item.before !== item.original;
  const before = await taken((wasThere ? item.original : item.before)[number]), after = item.after && (await taken(item.after[number]));
  if (item !== selected) return;
  viewer.show(before, after);
  showBoxes();
}

function placesOf(item: Item): readonly Place[] {
  return item.places ?? item.found[Math.min(Number(byId<HTMLInputElement>("frame").value), item.found.length) - 1] ?? [];
}

function showBoxes(): void {
  const shows = byId<HTMLInputElement>("show-boxes").checked && open !== null && hasPlaces(open.card);
  byId("box-help").hidden = !shows;
  if (selected?.before.length) {
    boxes.show(shows ? placesOf(selected).map(({ box }) => box) : [], selected.before[0].width, selected.before[0].height);
  }
}

function boxChanged(number: number, box: Box | null): void {
  if (!selected) return;
  const places = [...placesOf(selected)];
  places.splice(number, 1, ...(box ? [{ box, region: null }] : []));
  again(selected, places);
}

function again(item: Item, places: Place[] | null): void {
  anew(item, places);
  render();
  showBoxes();
  void work();
}

// --- mosaics for trying out

/** The first frame is what they are put on: of an animation every frame gets them. */
async function put(item: Item, on: (frame: Frame) => (Put | null)[] | Promise<(Put | null)[]>): Promise<void> {
  const frames: Stored[] = [], places: Place[] = item.before === item.original ? [] : [...(item.places ?? [])];
  let some = false;
  for (const [number, each] of item.before.entries()) {
    const frame = await taken(each), puts = (await on(frame)).filter((one) => one !== null);
    if (!puts.length) {
      frames.push(each);
      continue;
    }
    some = true;
    frames.push(stored({ ...frame, rgb: puts[puts.length - 1].rgb }));
    if (number === 0) places.push(...puts.map(({ region }) => ({ box: region.box, region })));
  }
  if (!some) return say("Nothing was there to put a mosaic on.", true);
  [item.before, item.after] = [frames, null];
  again(item, places);
  await show();
}

const block = (): number => Math.min(128, Math.max(4, Math.round(Number(byId<HTMLInputElement>("block").value)) || 16));

/** A mosaic on each box in turn; `touches` says which cells. */
function onBoxes(frame: Frame, places: readonly Box[], touches: (box: Box) => (cell: Box) => boolean): (Put | null)[] {
  let { rgb } = frame;
  return places.map((box) => {
    const one = putMosaic(rgb, block(), box, touches(box));
    rgb = one?.rgb ?? rgb;
    return one;
  });
}

async function drawn(tool: Tool, points: readonly Point[]): Promise<void> {
  if (!selected?.before.length || open?.card.task !== "mosaic") return;
  const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y), reach = tool === "brush" ? viewer.brush : 0;
  const box = {
    top: Math.floor(Math.min(...ys) - reach), left: Math.floor(Math.min(...xs) - reach),
    bottom: Math.ceil(Math.max(...ys) + reach), right: Math.ceil(Math.max(...xs) + reach),
  };
  await put(selected, (frame) => onBoxes(frame, [box], () => (tool === "brush" ? touchedBy(points, reach) : () => true)));
}

async function onFaces(item: Item): Promise<void> {
  try {
    say("");
    showWork(0.3, "looking for faces");
    const faces = await client.faces((await taken(item.before[0])).rgb);
    if (!faces.length) return say("No face was found: put a mosaic on with a rectangle or the brush.", true);
    await put(item, (frame) => onBoxes(frame, faces, insideEllipse));
  } catch (error) {
    if (!(error instanceof Cancelled)) say(sentenceOf(error), true);
  } finally {
    if (!isBusy) showWork(null);
  }
}

// --- saving

async function fileOf(item: Item, format: Format): Promise<Blob> {
  if (!item.after || !open) throw new Error("There is nothing to save yet.");
  const frames = [];
  for (const each of item.after) frames.push(await taken(each));
  return encode(frames, item.info?.loops ?? 0, format, xmpMark(open.name, open.sha256, item.info?.sha256));
}

async function save(some: readonly Item[], format: Format): Promise<void> {
  try {
    for (const item of some) download(await fileOf(item, format), nameFor(item.name, format, taken_));
    say(some.length > 1 ? `${some.length} files were saved.` : "It was saved; its metadata says that a model restored it.");
  } catch (error) {
    say(sentenceOf(error), true);
  }
}

// --- telling

function say(sentence: string, isBad = false): void {
  const status = byId("status");
  status.textContent = sentence;
  status.classList.toggle("bad", isBad);
}

function showWork(share: number | null, doing = ""): void {
  byId("working").hidden = share === null;
  byId<HTMLProgressElement>("progress").value = share ?? 0;
  byId("doing").textContent = doing;
}

function sentenceOf(error: unknown): string {
  const told = error instanceof Error ? error.message : String(error);
  return /[.:]$/.test(told) ? told : `${told}.`;
}

function render(): void {
  const item = selected, isLoaded = Boolean(item?.before.length), task = open?.card.task, card = open?.card;
  byId("empty").hidden = items.length > 0;
  byId("more").hidden = byId("more-camera").hidden = items.length === 0;
  byId("photos").replaceChildren(...items.map(row));
  byId("result").hidden = !item?.after;
  byId("save-all").hidden = items.filter(({ after }) => after).length < 2;
  byId("places").hidden = !isLoaded || !card || !hasPlaces(card);
  byId("try").hidden = !isLoaded || task !== "mosaic";
  byId<HTMLButtonElement>("undo").disabled = !item || item.before === item.original;
  byId("was-there-row").hidden = !item || item.before === item.original;
  byId("frame-row").hidden = !item || item.before.length < 2;
  byId<HTMLInputElement>("frame").max = String(item?.before.length ?? 1);
  byId<HTMLInputElement>("strength").value = String(item?.strength ?? 100);
  byId("strength-shown").textContent = `${item?.strength ?? 100} %`;
  byId("notes").replaceChildren(...(item?.notes ?? []).map((note) => made("li", note)));
  const count = item ? placesOf(item).length : 0;
  byId("places-told").textContent = `Show the boxes (${count})`;
  if (item && item.state !== "working" && item.state !== "waiting") say(told(item), item.state === "failed");
  else if (item && isBusy) say("");
}

function told(item: Item): string {
  if (item.state === "failed") return `${item.name}: ${item.sentence}`;
  if (item.state === "stopped") return "Cancelled.";
  if (item.state === "done") return item.sentence;
  if (open?.card.task === "mosaic") return "No mosaic was found. Where you see one, add a box; or put one on, to see what the model does.";
  return "No face was found: where you see one, add a box.";
}

function row(item: Item): HTMLLIElement {
  const line = made("li"), button = made("button"), away = made("button", "×");
  button.type = away.type = "button";
  button.append(made("span", item.name), made("span", WORDS[item.state]));
  button.setAttribute("aria-current", String(item === selected));
  button.addEventListener("click", () => void select(item));
  away.setAttribute("aria-label", `Remove ${item.name}`);
  away.addEventListener("click", () => remove(item));
  line.append(button, away);
  return line;
}

// --- what a person does

function listen(): void {
  const picker = byId<HTMLInputElement>("files"), modelPicker = byId<HTMLInputElement>("model-file");
  const camera = (): Promise<void> => shoot().then((file) => file && add([file]), (error: unknown) => say(sentenceOf(error), true)) as Promise<void>;
  for (const id of ["choose", "more"]) onClick(id, () => picker.click());
  for (const id of ["camera", "more-camera"]) onClick(id, camera);
  for (const input of [picker, modelPicker]) {
    input.addEventListener("change", () => {
      add(input.files ?? []);
      input.value = "";
    });
  }
  onClick("other-model", () => modelPicker.click());
  byId("model").addEventListener("change", (event) => void choose(models[(event.target as HTMLSelectElement).selectedIndex]));
  onClick("about", () => open && showCard(open.name, open.card, open.device));
  onClick("cancel", stop);
  onClick("save-png", () => selected && save([selected], "PNG"));
  onClick("save-jpeg", () => selected && save([selected], "JPEG"));
  onClick("save-all", () => save(items.filter(({ after }) => after), "PNG"));
  listenToSettings();
  listenToDrops();
}

function listenToSettings(): void {
  const strength = byId<HTMLInputElement>("strength");
  strength.addEventListener("input", () => (byId("strength-shown").textContent = `${strength.value} %`));
  strength.addEventListener("change", () => {
    if (!selected) return;
    selected.strength = Number(strength.value);
    again(selected, selected.places ?? placesForAll(selected));
  });
  byId("frame").addEventListener("input", () => void show());
  byId("was-there").addEventListener("change", () => void show());
  byId("show-boxes").addEventListener("change", showBoxes);
  onClick("add-box", () => {
    if (!selected) return;
    const { width, height } = selected.before[0], box = {
      top: Math.floor(height / 4), left: Math.floor(width / 4), bottom: Math.ceil((3 * height) / 4), right: Math.ceil((3 * width) / 4),
    };
    byId<HTMLInputElement>("show-boxes").checked = true;
    again(selected, [...placesOf(selected), { box, region: null }]);
  });
  onClick("find-again", () => selected && again(selected, null));
  onClick("on-faces", () => selected?.before.length && onFaces(selected));
  onClick("in-boxes", () => {
    const item = selected, places = item ? placesOf(item).map(({ box }) => box) : [];
    if (item) void put(item, (frame) => onBoxes(frame, places, () => () => true));
  });
  onClick("undo", () => {
    if (!selected) return;
    [selected.before, selected.after] = [selected.original, null];
    again(selected, null);
    void show();
  });
  for (const input of document.querySelectorAll<HTMLInputElement>("input[name=tool]")) {
    input.addEventListener("change", () => {
      viewer.tool = input.value as Tool;
      viewer.brush = block();
      byId("stage").classList.toggle("drawing", viewer.tool !== "look");
    });
  }
  byId("block").addEventListener("change", () => (viewer.brush = block()));
}

/** Of a photo that stands still, those that were found: they need not be looked for again. */
function placesForAll(item: Item): Place[] | null {
  return item.found.length === 1 && item.state === "done" ? [...item.found[0]] : null;
}

function listenToDrops(): void {
  const drop = document.body;
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => byId("drop").classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    add(event.dataTransfer?.files ?? []);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
}

listen();
void start();

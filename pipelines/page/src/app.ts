/** The page: what a person does with it, and what they see of that. Photos are worked on in photos.ts, pixels in worker.ts. */

import { showCard } from "./about.ts";
import { Boxes } from "./boxes.ts";
import { shoot } from "./camera.ts";
import { readCard } from "./card.ts";
import { Cancelled, Client } from "./client.ts";
import type { Frame } from "./decode.ts";
import { byId, made, onClick } from "./dom.ts";
import type { Box } from "./image.ts";
import { sha256, xmpMark } from "./mark.ts";
import { type Model, modelOf, modelsOf, type Open } from "./models.ts";
import { insideEllipse, type Put, putMosaic, touchedBy } from "./mosaic.ts";
import { type Item, Photos, sentenceOf, shown } from "./photos.ts";
import { Rows } from "./rows.ts";
import { download, encode, type Format, nameFor, zipped } from "./save.ts";
import { type Stored, stored, taken } from "./store.ts";
import { type Point, type Tool, Viewer } from "./viewer.ts";
import { hasPlaces, type Place } from "./whole.ts";

const site = new URL("./", location.href).href;
const client = new Client(site);
const photos = new Photos(client, { changed, drawn: (item) => void show(item), working: showWork });
const viewer = new Viewer((tool, points) => later(() => drawn(tool, points)));
const boxes = new Boxes((event) => viewer.pointAt(event), boxChanged);
const rows = new Rows((item) => photos.select(item), (item) => photos.remove(item));
const names = new Set<string>(); // of files that were saved
let models: Model[] = [], loading = new AbortController(), queue = Promise.resolve();
let usable: Open | null = null; // the last model that was opened

/** One thing after the other, and a sentence where one fails. */
function later(act: () => Promise<void>): void {
  queue = queue.then(act).catch((error: unknown) => {
    if (!(error instanceof Cancelled)) say(sentenceOf(error), true);
  });
}

// --- models

async function start(): Promise<void> {
  byId("unserved").hidden = true;
  try {
    models = await modelsOf(site);
    if (models[0]) await choose(models[0]);
    else say("There is no model yet: open a model file.", true);
  } catch (error) {
    say(sentenceOf(error), true);
  }
  showModels();
}

/** The last one that is chosen is opened; until it is, the one before stays. */
async function choose(model: Model): Promise<void> {
  loading.abort();
  const mine = (loading = new AbortController()), { signal } = mine;
  showModels();
  try {
    showWork(`loading ${model.name}`, 0);
    const bytes = await model.bytes((share) => signal.aborted || showWork(`loading ${model.name}`, share), signal);
    signal.throwIfAborted();
    readCard(bytes); // what is no model of ours is refused before anything ends that is under way
    showWork(`preparing ${model.name}`, null);
    photos.open = null; // nothing is restored meanwhile: nobody could say by which model
    const { card, device } = await client.open(bytes), digest = await sha256(bytes);
    signal.throwIfAborted();
    models = [...models.filter((each) => each === model || each.name !== model.name), ...(models.includes(model) ? [] : [model])];
    showWork("", null);
    if (!photos.items.length) say(`${model.name} is ready.`);
    usable = { model, card, sha256: digest, device };
    photos.restoreAllWith(usable);
  } catch (error) {
    if (mine === loading) {
      photos.open = usable;
      showWork("", null);
      const isCancelled = signal.aborted || error instanceof Cancelled;
      say(isCancelled ? `${model.name} was not loaded.` : `${model.name}: ${sentenceOf(error)}`, true);
      void photos.work();
    }
  }
  showModels();
}


function showModels(): void {
  const select = byId<HTMLSelectElement>("model"), { open } = photos;
  select.replaceChildren(...models.map(({ name }) => new Option(name)));
  if (!models.length) select.replaceChildren(new Option("none"));
  select.selectedIndex = models.findIndex((each) => each === open?.model);
  select.disabled = models.length < (open ? 2 : 1);
  byId<HTMLButtonElement>("about").disabled = !open;
  byId("device").textContent = open ? `${open.model.name} runs on ${open.device}.` : "";
}

// --- photos

function add(files: Iterable<File>): void {
  let first: Item | null = null;
  for (const file of files) {
    if (/\.onnx$/i.test(file.name)) {
      void choose(modelOf(file));
      continue;
    }
    const item = photos.add(file);
    first ??= item;
  }
  if (first) photos.select(first);
}

async function show(item: Item): Promise<void> {
  if (item !== photos.selected) return;
  byId("viewer").hidden = !item.before.length;
  if (!item.before.length) return;
  const { before, after } = await shown(item, frameNumber(), byId<HTMLInputElement>("was-there").checked);
  if (item !== photos.selected) return;
  viewer.show(before, after);
  showBoxes();
}

const frameNumber = (): number => Number(byId<HTMLInputElement>("frame").value) - 1;

const placesOf = (item: Item): readonly Place[] => item.places ?? item.found;

function showBoxes(): void {
  const { selected: item, open } = photos, shows = byId<HTMLInputElement>("show-boxes").checked && open !== null && hasPlaces(open.card);
  const isStill = item?.before.length === 1;
  byId("box-help").hidden = byId("remove-box").hidden = !shows;
  if (item?.before.length) boxes.show(shows && isStill ? placesOf(item).map(({ box }) => box) : [], item.before[0].width, item.before[0].height);
  byId<HTMLButtonElement>("remove-box").disabled = boxes.last === null;
}

function boxChanged(number: number, box: Box | null): void {
  const { selected } = photos;
  if (!selected) return;
  const places = [...placesOf(selected)];
  places.splice(number, 1, ...(box ? [{ box, region: null }] : []));
  photos.again(selected, places);
  showBoxes();
  if (!places.length) byId("add-box").focus();
}

function addBox(item: Item): void {
  const { width, height } = item.before[0], shift = Math.min(placesOf(item).length, 8) / 40; // not one over the other
  const at = (length: number, share: number): number => Math.round(length * (share + shift));
  const box = { top: at(height, 0.25), left: at(width, 0.25), bottom: at(height, 0.75), right: at(width, 0.75) };
  byId<HTMLInputElement>("show-boxes").checked = true;
  photos.again(item, [...placesOf(item), { box, region: null }]);
  showBoxes();
}

// --- mosaics for trying out

/** A mosaic on each frame; that of the first says where it lies in all of them. */
async function put(item: Item, on: (frame: Frame) => (Put | null)[]): Promise<void> {
  const frames: Stored[] = [], places: Place[] = [...placesOf(item)];
  let some = false;
  for (const [number, each] of item.before.entries()) {
    const frame = await taken(each), puts = on(frame).filter((one) => one !== null), last = puts.at(-1);
    frames.push(last ? stored({ ...frame, rgb: last.rgb }) : each);
    some ||= last !== undefined;
    if (number === 0) places.push(...puts.map(({ region }) => ({ box: region.box, region })));
  }
  if (some) photos.replace(item, frames, item.before.length > 1 ? null : places);
  else say("Nothing was there to put a mosaic on.", true);
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
  const { selected: item, open } = photos;
  if (!item?.before.length || open?.card.task !== "mosaic") return;
  const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y), reach = tool === "brush" ? viewer.brush() : 0;
  const box = {
    top: Math.floor(Math.min(...ys) - reach), left: Math.floor(Math.min(...xs) - reach),
    bottom: Math.ceil(Math.max(...ys) + reach), right: Math.ceil(Math.max(...xs) + reach),
  };
  await put(item, (frame) => onBoxes(frame, [box], () => (tool === "brush" ? touchedBy(points, reach) : () => true)));
}

async function onFaces(item: Item): Promise<void> {
  showWork("looking for faces", null);
  try {
    const faces = await client.faces((await taken(item.before[0])).rgb);
    if (faces.length) await put(item, (frame) => onBoxes(frame, faces, insideEllipse));
    else say("No face was found: put a mosaic on with a rectangle or the brush.", true);
  } finally {
    showWork("", null);
  }
}

// --- saving

async function fileOf(item: Item, format: Format): Promise<Blob> {
  const { result } = item;
  if (!result) throw new Error("There is nothing to save yet.");
  const frames = [];
  for (const each of result.frames) frames.push(await taken(each));
  return encode(frames, item.info?.loops ?? 0, format, xmpMark(result.by.model.name, result.by.sha256, item.info?.sha256));
}

async function save(item: Item, format: Format): Promise<void> {
  download(await fileOf(item, format), nameFor(item.name, format, names));
  say("It was saved; its metadata says that a model restored it.");
}

async function saveAll(): Promise<void> {
  const files = [], inside = new Set<string>(), some = photos.items.filter(({ state }) => state === "restored");
  for (const item of some) files.push({ name: nameFor(item.name, "PNG", inside), blob: await fileOf(item, "PNG") });
  download(await zipped(files), "photomend.zip");
  say(`${files.length} photos were saved as photomend.zip.`);
}

// --- telling

/** What is said is read aloud: the same is not said again. */
function say(sentence: string, isBad = false): void {
  const status = byId("status");
  if (status.textContent !== sentence) status.textContent = sentence;
  status.classList.toggle("bad", isBad);
}

function showWork(doing: string, share: number | null): void {
  const progress = byId<HTMLProgressElement>("progress");
  byId("working").hidden = !doing;
  if (share === null) progress.removeAttribute("value");
  else progress.value = share;
  byId("doing").textContent = doing;
}

const toldOf = new WeakMap<Item, string>(); // the state that was told of each

/** What a person sees of the list, of the photo that is looked at, and of what can be done with it. */
function changed(): void {
  const { items, selected: item, open } = photos, isLoaded = Boolean(item?.before.length), card = open?.card;
  rows.show(items, item);
  byId("empty").hidden = items.length > 0;
  byId("more").hidden = byId("more-camera").hidden = items.length === 0;
  if (!isLoaded) byId("viewer").hidden = true;
  byId("result").hidden = !item?.result;
  byId("again").hidden = !isLoaded || (item?.state !== "cancelled" && item?.state !== "failed");
  byId("save-all").hidden = items.filter(({ state }) => state === "restored").length < 2;
  byId("places").hidden = !isLoaded || !card || !hasPlaces(card) || item?.before.length !== 1;
  byId("try").hidden = !isLoaded || card?.task !== "mosaic";
  if (byId("try").hidden) useTool("look");
  const hasMosaics = isLoaded && item?.before !== item?.original;
  byId("undo-row").hidden = !hasMosaics;
  if (!hasMosaics) byId<HTMLInputElement>("was-there").checked = false;
  const count = item?.before.length ?? 1;
  byId("frame-row").hidden = count < 2;
  byId<HTMLInputElement>("frame").max = String(count);
  byId("frame-shown").textContent = `${frameNumber() + 1} of ${count}`;
  const isOld = item?.state !== "restored"; // what was asked for since is not yet in it
  byId<HTMLButtonElement>("save-png").disabled = isOld;
  byId<HTMLButtonElement>("save-jpeg").disabled = isOld || count > 1; // no JPEG moves
  byId("notes").replaceChildren(...(item?.notes ?? []).map((note) => made("li", note)));
  byId("places-told").textContent = `Show the boxes (${item ? placesOf(item).length : 0})`;
  if (item && item.state !== "waiting") tell(item);
  else if (!items.length && !byId("working").hidden) say("");
}

/** Says once what has become of the photo that is looked at. */
function tell(item: Item): void {
  const sentences: Readonly<Record<Item["state"], string>> = {
    waiting: "", working: `Restoring ${item.name} …`, restored: item.sentence, nothing: item.sentence,
    failed: `${item.name}: ${item.sentence}`, cancelled: "Cancelled.",
  };
  const now = `${item.id} ${item.state} ${item.version} ${item.sentence}`;
  if (toldOf.get(item) === now && lastTold === item) return;
  toldOf.set(item, now);
  lastTold = item;
  say(sentences[item.state], item.state === "failed");
}
let lastTold: Item | null = null;

function useTool(tool: Tool): void {
  viewer.use(tool);
  for (const input of document.querySelectorAll<HTMLInputElement>("input[name=tool]")) input.checked = input.value === tool;
}

// --- what a person does

function withItem(act: (item: Item) => void): () => void {
  return () => {
    if (photos.selected?.before.length) act(photos.selected);
  };
}

function listen(): void {
  const picker = byId<HTMLInputElement>("files"), modelPicker = byId<HTMLInputElement>("model-file");
  for (const id of ["choose", "more"]) onClick(id, () => picker.click());
  for (const id of ["camera", "more-camera"]) {
    onClick(id, () => later(async () => {
      const file = await shoot();
      if (file) add([file]);
    }));
  }
  for (const input of [picker, modelPicker]) {
    input.addEventListener("change", () => {
      add(input.files ?? []);
      input.value = "";
    });
  }
  onClick("other-model", () => modelPicker.click());
  byId("model").addEventListener("change", (event) => void choose(models[(event.target as HTMLSelectElement).selectedIndex]));
  onClick("about", () => photos.open && showCard(photos.open));
  onClick("cancel", () => {
    if (byId("doing").textContent?.startsWith("loading ")) return loading.abort();
    return photos.cancel().catch((error: unknown) => say(sentenceOf(error), true));
  });
  onClick("again", withItem((item) => photos.again(item)));
  onClick("save-png", withItem((item) => later(() => save(item, "PNG"))));
  onClick("save-jpeg", withItem((item) => later(() => save(item, "JPEG"))));
  onClick("save-all", () => later(saveAll));
  addEventListener("beforeunload", (event) => {
    if (photos.items.some(({ result }) => result)) event.preventDefault();
  });
  listenToSettings();
  listenToMosaics();
  listenToDrops();
}

function listenToSettings(): void {
  const strength = byId<HTMLInputElement>("strength"), frame = byId<HTMLInputElement>("frame");
  const tellStrength = (): unknown => (byId("strength-shown").textContent = `${strength.value} %`);
  strength.addEventListener("input", tellStrength);
  strength.addEventListener("change", withItem((item) => {
    item.strength = Number(strength.value);
    photos.again(item, item.places ?? (item.found.length ? item.found : null)); // they need not be looked for again
  }));
  rows.onSelect = (item) => {
    strength.value = String(item?.strength ?? 100);
    tellStrength();
    frame.value = "1";
    byId<HTMLInputElement>("block").value = String(item?.before.length ? cellsFor(item) : 16);
  };
  frame.addEventListener("input", withItem((item) => {
    changed();
    void show(item);
  }));
  byId("was-there").addEventListener("change", withItem((item) => void show(item)));
  byId("show-boxes").addEventListener("change", showBoxes);
  onClick("add-box", withItem(addBox));
  onClick("remove-box", () => boxes.last !== null && boxChanged(boxes.last, null));
  onClick("find-again", withItem((item) => photos.again(item, null)));
}

/** What mosaics have on faces. */
function cellsFor(item: Item): number {
  return Math.min(64, Math.max(8, Math.round(Math.max(item.before[0].width, item.before[0].height) / 64)));
}

function listenToMosaics(): void {
  onClick("on-faces", withItem((item) => later(() => onFaces(item))));
  onClick("in-boxes", withItem((item) => {
    const places = placesOf(item).map(({ box }) => box);
    later(() => put(item, (frame) => onBoxes(frame, places, () => () => true)));
  }));
  onClick("undo", withItem((item) => photos.replace(item, item.original, null)));
  for (const input of document.querySelectorAll<HTMLInputElement>("input[name=tool]")) {
    input.addEventListener("change", () => useTool(input.value as Tool));
  }
  byId("block").addEventListener("change", (event) => ((event.target as HTMLInputElement).value = String(block())));
}

function listenToDrops(): void {
  const { body } = document;
  for (const kind of ["dragenter", "dragover"]) {
    body.addEventListener(kind, (event) => {
      event.preventDefault();
      byId("drop").classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) body.addEventListener(kind, () => byId("drop").classList.remove("over"));
  body.addEventListener("drop", (event) => {
    event.preventDefault();
    const items = Array.from(event.dataTransfer?.items ?? []), files = event.dataTransfer?.files ?? [];
    const folder = items.map((item) => item.webkitGetAsEntry()).find((entry) => entry?.isDirectory);
    if (folder) say(`${folder.name} is a folder: drop the photos in it.`, true);
    else if (!files.length) say("That was no file: drop photos.", true);
    else add(files);
  });
  document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
}

listen();
void start();

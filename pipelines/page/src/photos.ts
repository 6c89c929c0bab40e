/** The photos that were given, and what becomes of them: one after the other, the one that is looked at first. */

import { Cancelled, type Client } from "./client.ts";
import { decode, type Frame, type Photo } from "./decode.ts";
import type { Open } from "./models.ts";
import { type Stored, stored, taken } from "./store.ts";
import { hasPlaces, type Place } from "./whole.ts";

export type State = "waiting" | "working" | "restored" | "nothing" | "failed" | "cancelled";

/** What a model made of a photo. */
export interface Result {
  readonly frames: readonly Stored[];
  readonly by: Open;
}

export interface Item {
  readonly id: number;
  readonly name: string;
  readonly file: Blob;
  info: Omit<Photo, "frames"> | null; // once it is decoded
  original: Stored[]; // its frames
  before: Stored[]; // with the mosaics that were put on
  result: Result | null;
  places: readonly Place[] | null; // that a person chose; null: they are looked for
  found: readonly Place[]; // in a photo that stands still: where something was restored
  content: number; // grows with what is to be restored of it, but not with how strongly
  version: number; // grows with all that is asked of it anew
  strength: number; // percent
  state: State;
  sentence: string;
  notes: readonly string[];
}

export interface Listener {
  /** Something of the item has become otherwise; null: of the list. */
  changed(item: Item | null): void;
  /** The pixels of the item are there, or others. */
  drawn(item: Item): void;
  /** 0 to 1, or null where nobody knows; "" is nothing. */
  working(doing: string, share: number | null): void;
}

export class Photos {
  readonly items: Item[] = [];
  selected: Item | null = null;
  open: Open | null = null;
  private last = 0;
  private isBusy = false;
  private epoch = 0; // grows when everything is cancelled

  constructor(private readonly client: Client, private readonly listener: Listener) {}

  /** The new one. */
  add(file: File): Item {
    const item: Item = {
      id: ++this.last, name: file.name || "photo", file, info: null, original: [], before: [], result: null, places: null, found: [], content: 0,
      version: 0, strength: 100, state: "waiting", sentence: "", notes: [],
    };
    this.items.push(item);
    this.listener.changed(null);
    return item;
  }

  /** What lies beside it is looked at then. */
  remove(item: Item): void {
    const at = this.items.indexOf(item), wasWorking = item.state === "working";
    this.items.splice(at, 1);
    item.version++;
    if (item === this.selected) this.selected = this.items[Math.min(at, this.items.length - 1)] ?? null;
    this.listener.changed(null);
    if (wasWorking) void this.client.cancel();
    if (this.selected) this.listener.drawn(this.selected);
  }

  select(item: Item): void {
    this.selected = item;
    this.listener.changed(item);
    this.listener.drawn(item);
    void this.work();
  }

  /** The item is to be restored anew; `places`: null where they are to be looked for. */
  again(item: Item, places: readonly Place[] | null = item.places): void {
    if (places !== item.places) item.content++;
    item.places = places;
    item.version++;
    if (item.state !== "working") item.state = "waiting";
    this.listener.changed(item);
    void this.work();
  }

  /** With other pixels: `frames` is what it was, with mosaics. */
  replace(item: Item, frames: Stored[], places: readonly Place[] | null): void {
    item.before = frames;
    item.result = null;
    item.content++;
    this.again(item, places);
    this.listener.drawn(item);
  }

  /** Everything, with that model. */
  restoreAllWith(open: Open): void {
    this.open = open;
    for (const item of this.items) {
      item.result = null;
      item.found = [];
      item.content++;
      item.version++;
      if (item.state !== "failed" || item.info) item.state = "waiting";
    }
    this.listener.changed(null);
    if (this.selected) this.listener.drawn(this.selected);
    void this.work();
  }

  /** All that waits or is worked on ends. Throws what `Client.cancel` does. */
  async cancel(): Promise<void> {
    this.epoch++;
    for (const item of this.items) if (item.state === "waiting" || item.state === "working") item.state = "cancelled";
    this.listener.changed(null);
    await this.client.cancel();
  }

  /** What waits is worked on, as far as a model is open; without one photos are read alone. */
  async work(): Promise<void> {
    if (this.isBusy) return;
    this.isBusy = true;
    try {
      for (let item; (item = this.next()); ) await (this.open ? this.restore(item) : this.read(item));
    } finally {
      this.isBusy = false;
      this.listener.working("", null);
      this.listener.changed(null);
    }
  }

  private next(): Item | undefined {
    const waits = (item: Item): boolean => item.state === "waiting" && (this.open !== null || !item.info);
    return this.selected && waits(this.selected) ? this.selected : this.items.find(waits);
  }

  private async read(item: Item): Promise<void> {
    try {
      await this.load(item);
    } catch (error) {
      item.state = "failed";
      item.sentence = sentenceOf(error);
    }
    this.listener.changed(item);
  }

  private async load(item: Item): Promise<void> {
    const { frames, ...info } = await decode(item.file);
    item.original = item.before = frames.map(stored);
    item.info = info;
    this.listener.drawn(item);
  }

  private async restore(item: Item): Promise<void> {
    const { version } = item, { epoch } = this, isOld = (): boolean => epoch !== this.epoch || version !== item.version;
    item.state = "working";
    this.listener.changed(item);
    try {
      this.listener.working(`reading ${item.name}`, null);
      if (!item.info) await this.load(item);
      if (!isOld()) await this.restoreFrames(item, isOld);
    } catch (error) {
      if (!(error instanceof Cancelled) && !isOld()) {
        item.state = "failed";
        item.result = null;
        item.sentence = sentenceOf(error);
        item.notes = [];
      }
    }
    if (item.state === "working") item.state = epoch === this.epoch ? "waiting" : "cancelled"; // it was asked for anew meanwhile
    this.listener.changed(item);
    this.listener.drawn(item);
  }

  private async restoreFrames(item: Item, isOld: () => boolean): Promise<void> {
    const { open } = this, { before, places, content, strength } = item, began = performance.now();
    const made: Stored[] = [], found: Place[] = [], notes = new Set(item.info?.note ? [item.info.note] : []);
    let count = 0;
    for (const [number, each] of before.entries()) {
      const frame = await taken(each);
      if (isOld() || !open) return;
      const job = { rgb: frame.rgb, coarse: item.info?.coarse ?? false, strength: strength / 100, places };
      const outcome = await this.client.restore(job, `${item.id} ${content} ${number}`, (share, doing) => this.tell(item, number, share, doing));
      if (isOld()) return;
      made.push(outcome?.made ? stored({ ...frame, rgb: outcome.made }) : each);
      found.push(...(outcome?.places ?? []));
      count += outcome?.restored ?? 0;
      for (const note of outcome?.notes ?? []) notes.add(note);
    }
    if (!open) return;
    item.found = before.length === 1 ? found : [];
    item.notes = [...notes];
    item.result = count ? { frames: made, by: open } : null;
    item.state = count ? "restored" : "nothing";
    item.sentence = count ? this.toldOf(item, count, (performance.now() - began) / 1000) : nothingIn(item, open);
  }

  private tell(item: Item, number: number, share: number | null, doing: string): void {
    const frames = item.before.length, waiting = this.items.filter(({ state }) => state === "waiting").length;
    const which = frames > 1 ? `, frame ${number + 1} of ${frames}` : "", more = waiting ? ` (${waiting} more)` : "";
    this.listener.working(`${item.name}${which}: ${doing}${more}`, share === null ? null : (number + share) / frames);
  }

  private toldOf(item: Item, count: number, seconds: number): string {
    const frames = item.before.length > 1 ? `${item.before.length} frames, ` : "";
    const what = this.open?.card.task === "mosaic" ? "mosaic" : "face", several = count === 1 ? "" : "s";
    const places = this.open && hasPlaces(this.open.card) ? `${count} ${what}${several}, ` : "";
    return `Restored: ${frames}${places}${seconds.toFixed(1)} s.`;
  }
}

function nothingIn(item: Item, { card }: Open): string {
  if (item.places?.length) return "Nothing was restored: in no box a mosaic is seen.";
  if (item.places) return "Nothing was restored: there is no box.";
  if (card.task !== "mosaic") return "No face was found. Where you see one, add a box.";
  return "No mosaic was found. Where you see one, add a box; or put one on, to see what the model does.";
}

export function sentenceOf(error: unknown): string {
  const told = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(told) ? told : `${told}.`;
}

/** A frame of an item as it was given, or with the mosaics that were put on; and as it was restored. */
export async function shown(item: Item, number: number, asGiven: boolean): Promise<{ before: Frame; after: Frame | null }> {
  const at = Math.min(number, item.before.length - 1), after = item.result?.frames[at];
  return { before: await taken((asGiven ? item.original : item.before)[at]), after: after ? await taken(after) : null };
}

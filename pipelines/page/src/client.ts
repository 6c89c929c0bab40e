/** Asks the worker. What it was asked last may be cancelled: it is ended, and another one begins with the same model. */

import type { Box, Rgb } from "./image.ts";
import type { Answer, Opened, Request } from "./worker.ts";
import type { Job, Outcome } from "./whole.ts";

export class Cancelled extends Error {}

type Made = (Answer & { kind: "made" })["made"];
type Asked<T> = T extends unknown ? Omit<T, "id"> : never; // of each kind

interface Waiting {
  resolve(made: Made): void;
  reject(error: Error): void;
  tell(share: number | null, doing: string): void;
}

export class Client {
  private worker: Worker | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;
  private model: Uint8Array | null = null;

  /** `site`: the address of the page's files. */
  constructor(private readonly site: string) {}

  /** What was asked before ends with Cancelled. Throws an Error of one sentence where it is no model; what was open is so again. */
  async open(model: Uint8Array): Promise<Opened> {
    this.end(new Cancelled("cancelled"));
    try {
      const opened = (await this.ask(this.opening(model))) as Opened;
      this.model = model;
      return opened;
    } catch (error) {
      if (this.model && !(error instanceof Cancelled)) await this.ask(this.opening(this.model));
      throw error;
    }
  }

  restore(job: Job, key: string, tell: (share: number | null, doing: string) => void): Promise<Outcome> {
    return this.ask({ kind: "restore", job, key }, tell) as Promise<Outcome>;
  }

  faces(rgb: Rgb): Promise<Box[]> {
    return this.ask({ kind: "faces", rgb }) as Promise<Box[]>;
  }

  /** All that was asked ends with Cancelled. */
  async cancel(): Promise<void> {
    this.end(new Cancelled("cancelled"));
    if (this.model) await this.ask(this.opening(this.model));
  }

  private opening(model: Uint8Array): Asked<Request> {
    return { kind: "open", model, base: `${this.site}ort/`, faces: `${this.site}faces.onnx` };
  }

  private end(error: Error): void {
    this.worker?.terminate();
    this.worker = null;
    for (const each of this.waiting.values()) each.reject(error);
    this.waiting.clear();
  }

  private begin(): Worker {
    const worker = new Worker(new URL("worker.js", this.site), { type: "module" });
    worker.onmessage = ({ data }: { data: Answer }) => {
      const asked = this.waiting.get(data.id);
      if (data.kind === "progress") return asked?.tell(data.share, data.doing);
      this.waiting.delete(data.id);
      if (data.kind === "made") asked?.resolve(data.made);
      else asked?.reject(new Error(data.sentence));
    };
    worker.onerror = () => this.end(new Error("The part of the page that computes has stopped: load the page again."));
    return worker;
  }

  private ask(asked: Asked<Request>, tell: Waiting["tell"] = () => {}): Promise<Made> {
    const id = ++this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, tell });
      (this.worker ??= this.begin()).postMessage({ ...asked, id });
    });
  }
}

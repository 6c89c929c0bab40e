/** The photo before and after, side by side under a divider; zoom; and what is drawn on it. */

import { type Frame, rgbaOf } from "./decode.ts";
import { byId, onClick } from "./dom.ts";
import { clip } from "./image.ts";

export type Tool = "look" | "rectangle" | "brush";

export interface Point {
  readonly x: number;
  readonly y: number;
}

const STEP = 1.5; // of the zoom
const BRUSH = 12; // screen pixels, half its width
const MOST = 32; // screen pixels a pixel of the photo

export class Viewer {
  private tool: Tool = "look";
  private readonly stage = byId("stage");
  private readonly viewport = byId("viewport");
  private readonly split = byId<HTMLInputElement>("split");
  private readonly canvases = [byId<HTMLCanvasElement>("before"), byId<HTMLCanvasElement>("after"), byId<HTMLCanvasElement>("marks")];
  private width = 0;
  private height = 0;
  private zoom: number | "fit" = "fit"; // screen pixels a pixel of the photo
  private drawn: Point[] = [];

  /** `draw`: what was drawn with a tool, pixels of the photo; of a rectangle two corners. */
  constructor(private readonly draw: (tool: Tool, points: readonly Point[]) => void) {
    this.split.addEventListener("input", () => this.showSplit());
    onClick("in", () => this.zoomBy(STEP));
    onClick("out", () => this.zoomBy(1 / STEP));
    onClick("fit", () => this.zoomTo("fit"));
    onClick("one", () => this.zoomTo(1));
    this.viewport.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? STEP : 1 / STEP, event);
    }, { passive: false });
    new ResizeObserver(() => this.layOut()).observe(this.viewport);
    this.stage.addEventListener("pointerdown", (event) => this.begin(event));
    this.stage.addEventListener("click", (event) => this.tool === "look" && event.target instanceof HTMLCanvasElement && this.moved(event));
    this.showSplit();
  }

  /** `after`: null hides the divider. */
  show(before: Frame, after: Frame | null): void {
    const { width, height } = before.rgb;
    if (width !== this.width || height !== this.height) this.zoom = "fit";
    [this.width, this.height] = [width, height];
    for (const [canvas, frame] of [[this.canvases[0], before], [this.canvases[1], after]] as const) {
      canvas.width = frame ? width : 0;
      canvas.height = frame ? height : 0;
      if (frame) canvas.getContext("2d")?.putImageData(rgbaOf(frame.rgb, frame.alpha), 0, 0);
    }
    this.canvases[2].width = width;
    this.canvases[2].height = height;
    byId("divider").hidden = this.canvases[1].hidden = !after;
    this.split.disabled = !after;
    this.layOut();
  }

  /** What dragging does. A finger that drags elsewhere than on the divider scrolls, unless it draws. */
  use(tool: Tool): void {
    this.tool = tool;
    this.stage.classList.toggle("drawing", tool !== "look");
  }

  /** Half the width of the brush, pixels of the photo. */
  brush(): number {
    return (BRUSH * devicePixelRatio) / (this.zoom === "fit" ? this.fitting() : this.zoom);
  }

  /** Of a place on the screen, pixels of the photo. */
  pointAt(event: { clientX: number; clientY: number }): Point {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return {
      x: clip(((event.clientX - left) / width) * this.width, 0, this.width),
      y: clip(((event.clientY - top) / height) * this.height, 0, this.height),
    };
  }

  private begin(event: PointerEvent): void {
    const { target } = event, scrolls = event.pointerType === "touch" && this.tool === "look" && target !== byId("divider");
    if (event.button !== 0 || !event.isPrimary || scrolls || target instanceof HTMLButtonElement) return;
    event.preventDefault();
    this.drawn = [];
    drag(this.stage, event, (moved) => {
      for (const each of moved.getCoalescedEvents?.() ?? []) this.moved(each);
      this.moved(moved);
    }, (isWhole) => {
      this.marks()?.clearRect(0, 0, this.width, this.height);
      if (isWhole && this.tool !== "look" && this.drawn.length) this.draw(this.tool, this.drawn);
    });
    this.moved(event);
  }

  private moved(event: MouseEvent): void {
    const point = this.pointAt(event);
    if (this.tool === "look") {
      this.split.value = String((100 * point.x) / this.width);
      this.showSplit();
      return;
    }
    const marks = this.marks();
    if (!marks) return;
    if (this.tool === "brush") {
      this.drawn.push(point);
      marks.beginPath();
      marks.arc(point.x, point.y, this.brush(), 0, 2 * Math.PI);
      marks.fill();
      return;
    }
    this.drawn = [this.drawn[0] ?? point, point];
    const [first] = this.drawn;
    marks.clearRect(0, 0, this.width, this.height);
    marks.fillRect(first.x, first.y, point.x - first.x, point.y - first.y);
  }

  private marks(): CanvasRenderingContext2D | null {
    const context = this.canvases[2].getContext("2d");
    if (context) context.fillStyle = "#2b5d8c99";
    return context;
  }

  private showSplit(): void {
    this.stage.style.setProperty("--split", `${this.split.value}%`);
    this.split.setAttribute("aria-valuetext", `${Math.round(Number(this.split.value))} % before`);
  }

  /** Screen pixels that show a pixel of the photo when it fits; it is enlarged to twice its size at most. */
  private fitting(): number {
    const dots = devicePixelRatio, { clientWidth, clientHeight } = this.viewport;
    return Math.min((clientWidth * dots) / this.width, (clientHeight * dots) / this.height, 2 * dots);
  }

  private zoomTo(zoom: number | "fit"): void {
    this.zoom = zoom;
    this.layOut();
  }

  /** What lies under `at` stays there, or else the middle. */
  private zoomBy(factor: number, at?: { clientX: number; clientY: number }): void {
    const box = this.viewport.getBoundingClientRect();
    const under = at ?? { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }, point = this.pointAt(under);
    this.zoomTo(clip((this.zoom === "fit" ? this.fitting() : this.zoom) * factor, 0.02, MOST));
    const now = this.stage.getBoundingClientRect();
    this.viewport.scrollLeft += now.left + (point.x / this.width) * now.width - under.clientX;
    this.viewport.scrollTop += now.top + (point.y / this.height) * now.height - under.clientY;
  }

  private layOut(): void {
    if (!this.width) return;
    const zoom = this.zoom === "fit" ? this.fitting() : this.zoom;
    this.stage.style.width = `${(this.width * zoom) / devicePixelRatio}px`;
    this.stage.style.height = `${(this.height * zoom) / devicePixelRatio}px`;
    this.stage.classList.toggle("pixels", zoom >= 2);
    byId("zoom").textContent = `${Math.round(100 * zoom)} %`;
  }
}

/** Follows a pointer until it goes up, or is taken away: then `end` is told that it is not whole. */
export function drag(element: HTMLElement, begun: PointerEvent, move: (event: PointerEvent) => void, end: (isWhole: boolean) => void): void {
  const over = new AbortController(), { signal } = over, { pointerId } = begun;
  const on = (kind: "pointermove" | "pointerup" | "pointercancel" | "lostpointercapture", act: (event: PointerEvent) => void): void =>
    element.addEventListener(kind, (event) => event.pointerId === pointerId && act(event), { signal });
  const ends = (isWhole: boolean) => (): void => {
    over.abort();
    end(isWhole);
  };
  element.setPointerCapture(pointerId);
  on("pointermove", move);
  on("pointerup", ends(true));
  on("pointercancel", ends(false));
  on("lostpointercapture", ends(false));
}

/** The boxes of what is restored, on the photo: to be moved, resized and removed with the mouse, a finger or the keyboard. */

import { byId, made } from "./dom.ts";
import { type Box, clip } from "./image.ts";
import { drag, type Point } from "./viewer.ts";

const LEAST = 8; // pixels a side
const CORNER = 16; // of the screen, around a box's last corner: where it is resized
const KEYS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

export class Boxes {
  last: number | null = null; // the one that was touched last
  private readonly layer = byId("boxes");
  private boxes: Box[] = [];
  private width = 0;
  private height = 0;

  /** changed: `box` is null where that of this number was removed. */
  constructor(private readonly pointAt: (event: PointerEvent) => Point, private readonly changed: (number: number, box: Box | null) => void) {}

  /** On a photo of that size. */
  show(boxes: readonly Box[], width: number, height: number): void {
    this.boxes = [...boxes];
    [this.width, this.height] = [width, height];
    this.last = boxes.length ? Math.min(this.last ?? boxes.length - 1, boxes.length - 1) : null;
    const focused = Array.from(this.layer.children).indexOf(document.activeElement as Element);
    this.layer.replaceChildren(...boxes.map((_, number) => this.element(number)));
    (this.layer.children[Math.min(focused, boxes.length - 1)] as HTMLElement | undefined)?.focus();
  }

  private element(number: number): HTMLButtonElement {
    const element = made("button", "", "box");
    element.type = "button";
    this.place(element, number);
    element.addEventListener("focus", () => (this.last = number));
    element.addEventListener("pointerdown", (event) => this.drag(element, number, event));
    element.addEventListener("keydown", (event) => this.key(element, number, event));
    return element;
  }

  private place(element: HTMLElement, number: number): void {
    const { top, left, bottom, right } = this.boxes[number], percent = (share: number): string => `${100 * share}%`;
    Object.assign(element.style, {
      left: percent(left / this.width), top: percent(top / this.height),
      width: percent((right - left) / this.width), height: percent((bottom - top) / this.height),
    });
    const told = `Box ${number + 1} of ${this.boxes.length}: ${right - left} × ${bottom - top} pixels, from ${left}, ${top}`;
    element.setAttribute("aria-label", told);
  }

  private drag(element: HTMLElement, number: number, event: PointerEvent): void {
    event.stopPropagation();
    if (event.button !== 0 || !event.isPrimary) return;
    element.focus(); // Safari gives buttons no focus by itself
    const from = this.pointAt(event), before = this.boxes[number], { right, bottom, width, height } = element.getBoundingClientRect();
    const corner = Math.min(CORNER, width / 3, height / 3);
    const resizes = right - event.clientX < corner && bottom - event.clientY < corner;
    const isMoved = (): boolean => (Object.keys(before) as (keyof Box)[]).some((side) => this.boxes[number][side] !== before[side]);
    drag(element, event, (moved) => {
      const { x, y } = this.pointAt(moved);
      this.change(element, number, before, Math.round(x - from.x), Math.round(y - from.y), resizes);
    }, () => isMoved() && this.changed(number, this.boxes[number]));
  }

  private key(element: HTMLElement, number: number, event: KeyboardEvent): void {
    const by = KEYS[event.key], step = Math.max(1, Math.round(Math.max(this.width, this.height) / 100));
    if (event.key === "Delete" || event.key === "Backspace") this.changed(number, null);
    else if (by) {
      this.change(element, number, this.boxes[number], by[0] * step, by[1] * step, event.shiftKey);
      this.changed(number, this.boxes[number]);
    } else return;
    event.preventDefault();
  }

  private change(element: HTMLElement, number: number, { top, left, bottom, right }: Box, x: number, y: number, resizes: boolean): void {
    const { width, height } = this;
    if (resizes) {
      this.boxes[number] = {
        top, left, right: clip(right + x, Math.min(left + LEAST, width), width), bottom: clip(bottom + y, Math.min(top + LEAST, height), height),
      };
    } else {
      const across = clip(x, -left, width - right), down = clip(y, -top, height - bottom);
      this.boxes[number] = { top: top + down, left: left + across, bottom: bottom + down, right: right + across };
    }
    this.place(element, number);
  }
}

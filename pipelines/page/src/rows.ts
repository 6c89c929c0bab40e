/** The list of photos: rows stay the elements that they are, so that neither focus nor a click gets lost. */

import { byId, made } from "./dom.ts";
import type { Item } from "./photos.ts";

interface Row {
  readonly line: HTMLLIElement;
  readonly button: HTMLButtonElement;
  readonly state: HTMLSpanElement;
}

export class Rows {
  /** Told when another photo is looked at, or when its pixels are there. */
  onSelect: (item: Item | null) => void = () => {};
  private readonly list = byId("photos");
  private readonly rows = new Map<Item, Row>();
  private selected = "";

  constructor(private readonly select: (item: Item) => void, private readonly remove: (item: Item) => void) {}

  show(items: readonly Item[], selected: Item | null): void {
    for (const [item, { line }] of this.rows) {
      if (items.includes(item)) continue;
      const hadFocus = line.contains(document.activeElement);
      line.remove();
      this.rows.delete(item);
      if (hadFocus && selected) this.rows.get(selected)?.button.focus();
    }
    for (const item of items) {
      const { button, state } = this.rows.get(item) ?? this.begin(item);
      button.setAttribute("aria-current", String(item === selected));
      const word = item.state === "nothing" ? "nothing found" : item.state;
      if (state.textContent !== word) state.textContent = word;
    }
    const now = selected ? `${selected.id} ${selected.before.length}` : "";
    if (now !== this.selected) this.onSelect(selected);
    this.selected = now;
  }

  private begin(item: Item): Row {
    const line = made("li"), button = made("button"), away = made("button", "×"), state = made("span"), name = made("span", item.name);
    button.type = away.type = "button";
    name.title = item.name;
    button.append(name, state);
    button.addEventListener("click", () => this.select(item));
    away.setAttribute("aria-label", `Remove ${item.name}`);
    away.addEventListener("click", () => this.remove(item));
    line.append(button, away);
    this.list.append(line);
    const row = { line, button, state };
    this.rows.set(item, row);
    return row;
  }
}

/** The elements of index.html, by their names. */

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no ${id}`);
  return found as T;
}

export function made<K extends keyof HTMLElementTagNameMap>(kind: K, text = "", className = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(kind);
  element.textContent = text;
  element.className = className;
  return element;
}

export function onClick(id: string, act: () => unknown): void {
  byId(id).addEventListener("click", () => void act());
}

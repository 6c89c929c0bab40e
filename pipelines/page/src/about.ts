/** What a model's card says, for a person. */

import type { Card } from "./card.ts";
import { byId, made } from "./dom.ts";
import type { Open } from "./models.ts";

const TASKS: Readonly<Record<string, string>> = {
  mosaic: "finds mosaicked parts of a photo, and invents what they may have shown",
  colorize: "gives a gray or faded photo colours, at its full size",
  other: "restores what it learned to",
};

export function showCard({ model, card, device }: Open): void {
  byId("card-title").textContent = model.name;
  const rows: [string, string][] = [
    ["What it does", TASKS[card.task] ?? card.task],
    ["What that is", card.statement],
    ["Learned from", card.recipe.join("\n") || "pairs that another program made"],
    ["Works at", `${card.size} × ${card.size} pixels`],
    ["Preset", `${card.preset}, step ${card.step.toLocaleString("en")}`],
    ["Licence", card.licence],
    ["On photos that it had not seen", figuresOf(card)],
    ["Runs on", device],
  ];
  byId("card-list").replaceChildren(...rows.filter(([, text]) => text).flatMap(([term, text]) => [made("dt", term), made("dd", text)]));
  byId<HTMLDialogElement>("card").showModal();
}

const METRICS: Readonly<Record<string, (value: number) => string>> = {
  psnr: (value) => `${value.toFixed(2)} dB`,
  ssim: (value) => `SSIM ${value.toFixed(3)}`,
  l1: (value) => `off by ${value.toFixed(1)} grey levels`,
  delta_e: (value) => `ΔE ${value.toFixed(2)}`,
};

/** What is restored, beside what anybody could make of it. */
function figuresOf({ validation }: Card): string {
  const line = (figures: Readonly<Record<string, number>>): string =>
    Object.entries(METRICS).filter(([metric]) => metric in figures).map(([metric, told]) => told(figures[metric])).join(", ");
  return Object.entries(validation ?? {}).filter(([what]) => what !== "raw")
    .sort(([one], [other]) => Number(other === "restored") - Number(one === "restored"))
    .map(([what, figures]) => `${what}: ${line(figures)}`).join("\n");
}

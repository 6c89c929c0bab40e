/**
 * What a model file of photomend says of itself, read from its bytes before an engine sees them: as pix2pix/model_file.py does.
 *
 * Of protobuf only as much is read as this takes. No length that a file names is believed: every step goes on by at least one
 * byte, within the bytes there are, and nothing is copied but the card and names.
 */

const KEY = "photomend";
const FORMAT_VERSION = 3;
const READABLE: readonly unknown[] = [1, 2, FORMAT_VERSION];
const CELL = 8; // pixels a side of a cell for a model
const MAX_BYTES = 2 ** 30;
const MAX_SIZE = 4096; // pixels
const INPUT = "image", OUTPUT = "restored";

const OPERATORS: ReadonlySet<string> = new Set([
  "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv", "ConvTranspose", "DepthToSpace",
  "Identity", "LeakyRelu", "Mul", "Neg", "Pad", "Relu", "Resize", "Sigmoid", "SpaceToDepth", "Sub", "Sum", "Tanh", "Transpose",
]);

const FIELDS = [
  "cell", "crop", "dataset", "direction", "format_version", "kind", "largest_difference", "licence", "preset", "recipe", "size",
  "spec", "statement", "step", "stride", "task", "validation", "value_range", "weights",
] as const;

/** CARD in model_file.py says what each field means. */
export interface Card {
  readonly format_version: number;
  readonly task: string; // mosaic, colorize or other
  readonly kind: string;
  readonly preset: string;
  readonly size: number;
  readonly stride: number;
  readonly value_range: unknown;
  readonly cell: number | null;
  readonly recipe: readonly string[];
  readonly direction: string;
  readonly crop: Crop;
  readonly step: number;
  readonly weights: string;
  readonly dataset: string;
  readonly validation: Readonly<Record<string, Readonly<Record<string, number>>>> | null;
  readonly licence: string;
  readonly spec: unknown;
  readonly largest_difference: number;
  readonly statement: string;
}

/** What a training image showed of its photo; a model that was not trained on photos says nothing. */
export interface Crop {
  readonly kind?: string | null;
  readonly margin?: number | null;
  readonly align?: boolean | null;
  readonly padding?: string | null;
}

/** The card of the model file with these bytes. Throws an Error of one sentence where it is not ours, or not whole. */
export function readCard(bytes: Uint8Array): Card {
  if (bytes.length > MAX_BYTES) throw new Error("The file is larger than 1 GB, and no model file of photomend is.");
  const model = modelOf(bytes);
  if (model.nodes === 0) throw new Error("The file is not an ONNX file, or is empty: choose an .onnx that photomend wrote.");
  if (model.external) throw new Error("The file refers to other files for its weights, which no model file of photomend does.");
  if (model.card === null) throw new Error("The file has no photomend card: it was made by another program, or is cut short.");
  if (model.inputs.join() !== INPUT || model.outputs.join() !== OUTPUT) {
    throw new Error(`The model does not make "${OUTPUT}" of an image "${INPUT}", as models of photomend do: train it again.`);
  }
  const card = cardOf(model.card);
  if (model.strange !== null) {
    const named = JSON.stringify(model.strange.slice(0, 40));
    throw new Error(`The model has the operator ${named} in its graph, which no model of photomend has.`);
  }
  checkTypes(card);
  return card as unknown as Card;
}

function cardOf(json: Uint8Array): Record<string, unknown> {
  let card: unknown;
  try {
    card = JSON.parse(textOf(json));
  } catch {
    throw new Error("The card of the model is damaged: copy the file again.");
  }
  const said: Record<string, unknown> | null = isObject(card) ? card : null;
  const version = said?.["format_version"];
  if (said === null || !READABLE.includes(version)) {
    if (typeof version === "number" && version < FORMAT_VERSION) {
      throw new Error(`The model is of format version ${version}, older than this page reads: export it again.`);
    }
    const found = typeof version === "number" ? version : "unknown";
    throw new Error(`The model is of format version ${found}, and this page reads ${FORMAT_VERSION}: use a newer photomend.`);
  }
  delete said["prior"]; // of version 2
  if (!Object.hasOwn(said, "cell")) said["cell"] = null;
  if (!Object.hasOwn(said, "direction")) said["direction"] = "AtoB";
  const missing = FIELDS.filter((name) => !Object.hasOwn(said, name));
  if (missing.length) throw new Error(`The card of the model lacks ${missing.join(", ")}: export the model again.`);
  if (said["cell"] !== null && said["cell"] !== CELL) {
    const cell = typeof said["cell"] === "number" ? said["cell"] : "another number of";
    throw new Error(`The model takes mosaics with cells of ${cell} pixels, and this page ${CELL}: export it again.`);
  }
  return said;
}

/** Throws where a field that the page works with or shows is not what it is in every card that photomend writes. */
function checkTypes(card: Readonly<Record<string, unknown>>): void {
  const { size, stride, recipe, crop, validation } = card;
  if (!isCount(size) || size > MAX_SIZE) {
    throw new Error(`The card of the model names no size from 1 to ${MAX_SIZE}: export the model again.`);
  }
  const isFigures = (value: unknown): boolean => isObject(value) && Object.values(value).every(isNumber);
  const right: Readonly<Record<string, boolean>> = {
    stride: isCount(stride) && stride <= MAX_SIZE,
    recipe: Array.isArray(recipe) && recipe.every((each) => typeof each === "string"),
    crop: isObject(crop),
    validation: validation === null || (isObject(validation) && Object.values(validation).every(isFigures)),
    step: isNumber(card["step"]),
    largest_difference: isNumber(card["largest_difference"]),
  };
  const texts = ["task", "kind", "preset", "direction", "weights", "dataset", "licence", "statement"];
  const wrong = [...Object.keys(right).filter((name) => !right[name]), ...texts.filter((name) => typeof card[name] !== "string")];
  if (wrong.length) {
    throw new Error(`The card of the model says ${wrong.join(", ")} in a way that is not understood: export the model again.`);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isNumber = (value: unknown): value is number => typeof value === "number";

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 1;

/** What is in the file, as far as it decides whether the file is read. */
interface Model {
  nodes: number;
  external: boolean; // a tensor that lies in another file
  strange: string | null; // the first operator that no model of ours has
  card: Uint8Array | null;
  readonly inputs: string[];
  readonly outputs: string[];
}

function modelOf(bytes: Uint8Array): Model {
  const model: Model = { nodes: 0, external: false, strange: null, card: null, inputs: [], outputs: [] };
  try {
    for (const { number, part } of parts(bytes)) { // ModelProto
      if (number === 7) readGraph(part, model);
      else if (number === 14) readProperty(part, model);
      else if (number === 25) model.strange ??= "function";
    }
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    const begins = bytes[0] === 0x08; // how an ONNX file begins: its IR version
    const what = begins ? "is damaged or cut short: copy it again" : "is not an ONNX file: choose an .onnx that photomend wrote";
    throw new Error(`The file ${what}.`);
  }
  return model;
}

function readProperty(entry: Uint8Array, model: Model): void {
  let key = "", value = entry.subarray(0, 0);
  for (const { number, part } of parts(entry)) {
    if (number === 1) key = textOf(part);
    else if (number === 2) value = part;
  }
  if (key === KEY) model.card ??= value; // the first, as in Python
}

function readGraph(graph: Uint8Array, model: Model): void {
  for (const { number, part } of parts(graph)) {
    if (number === 1) readNode(part, model);
    else if (number === 5) model.external ||= isExternal(part);
    else if (number === 15) model.external ||= isExternalSparse(part);
    else if (number === 11) addName(part, model.inputs);
    else if (number === 12) addName(part, model.outputs);
  }
}

function readNode(node: Uint8Array, model: Model): void {
  let operator = "", domain = "", inner = false;
  for (const { number, part } of parts(node)) {
    if (number === 4) operator = textOf(part);
    else if (number === 7) domain = textOf(part);
    else if (number === 5) inner = readAttribute(part, model) || inner;
  }
  model.nodes++;
  if (!OPERATORS.has(operator) || !["", "ai.onnx"].includes(domain) || inner) model.strange ??= operator;
}

/** Whether the attribute holds a graph, which is not looked into: no model of ours has one. */
function readAttribute(attribute: Uint8Array, model: Model): boolean {
  let inner = false;
  for (const { number, part } of parts(attribute)) {
    if (number === 5 || number === 10) model.external ||= isExternal(part);
    else if (number === 22 || number === 23) model.external ||= isExternalSparse(part);
    else if (number === 6 || number === 11) inner = true;
  }
  return inner;
}

function isExternal(tensor: Uint8Array): boolean {
  for (const { number, value } of fields(tensor)) if (number === 13 || (number === 14 && value !== 0)) return true;
  return false;
}

function isExternalSparse(sparse: Uint8Array): boolean {
  let external = false;
  for (const { number, part } of parts(sparse)) if (number === 1 || number === 2) external ||= isExternal(part);
  return external;
}

/** Adds what an input or output is called, up to two: one more than ours have. */
function addName(value: Uint8Array, names: string[]): void {
  let name = "";
  for (const { number, part } of parts(value)) if (number === 1) name = textOf(part);
  if (names.length < 2) names.push(name);
}

class Damaged extends Error {}

interface Field {
  readonly number: number;
  readonly value: number; // of a varint: its lower 32 bits
  readonly part: Uint8Array | null; // of what has a length: a view, no copy
}

/** The fields of a message that have a length: texts and messages. */
function* parts(message: Uint8Array): Generator<{ number: number; part: Uint8Array }> {
  for (const { number, part } of fields(message)) if (part !== null) yield { number, part };
}

/** Every field of a message. Throws Damaged where it does not fit into the message. */
function* fields(message: Uint8Array): Generator<Field> {
  let at = 0;

  /** The lower 32 bits of the varint at `at`; where `whole`, the others have to be 0. */
  function varint(whole: boolean): number {
    let low = 0;
    for (let place = 0; place < 10; place++) {
      const byte = message[at++];
      if (byte === undefined) throw new Damaged();
      const bits = byte & 0x7f;
      if (place < 5) low |= bits << (7 * place);
      if (whole && (place > 4 ? bits : place === 4 ? bits >> 4 : 0)) throw new Damaged();
      if (byte < 0x80) return low >>> 0;
    }
    throw new Damaged();
  }

  while (at < message.length) {
    const tag = varint(true), number = tag >>> 3, kind = tag & 7;
    if (number === 0) throw new Damaged();
    if (kind === 0) {
      yield { number, value: varint(false), part: null };
      continue;
    }
    if (kind !== 1 && kind !== 2 && kind !== 5) throw new Damaged(); // groups, which ONNX has none of
    const length = kind === 2 ? varint(true) : kind === 1 ? 8 : 4;
    if (length > message.length - at) throw new Damaged();
    at += length;
    yield { number, value: 0, part: kind === 2 ? message.subarray(at - length, at) : null };
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Damaged();
  }
}

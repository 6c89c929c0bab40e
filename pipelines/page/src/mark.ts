/** The mark of a restored file, as pipelines/mark.py writes it: an XMP packet that says what made it. Puts it into files. */

interface Digests {
  digest(algorithm: "SHA-256", bytes: Uint8Array): Promise<ArrayBuffer>;
}

export const VERSION = "0.1.0"; // of photomend, as in setup.cfg: a test compares them
export const STATEMENT =
  "Restored by a model: what it shows is a plausible invention, not a record of what was there, and not evidence.";
const SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const MOST_BYTES = 60_000; // of a packet: a JPEG has room for 65,502 in one piece

/**
 * The XMP packet of a restored photo that had none itself (IPTC Photo Metadata 2025.1).
 *
 * `model`: its name, `sha256`: of its file; `source`: the SHA-256 of the file that was restored, null where there is none.
 */
export function xmpMark(model: string, sha256: string, source: string | null = null): string {
  const name = model.replace(/[\p{C}\p{Z}]/gu, (letter) => (letter === " " ? " " : "?")); // what cannot be printed
  const tag = source ? `<photomend:SourceSHA256>${escaped(source)}</photomend:SourceSHA256>\n   ` : "";
  const packet = `<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:photomend="urn:photomend:1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:DigitalSourceType>${SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <Iptc4xmpExt:AISystemUsed>${escaped(name)}</Iptc4xmpExt:AISystemUsed>
   <Iptc4xmpExt:AISystemVersionUsed>sha256:${escaped(sha256)}</Iptc4xmpExt:AISystemVersionUsed>
   <xmp:CreatorTool>photomend ${VERSION}</xmp:CreatorTool>
   ${tag}<dc:description><rdf:Alt><rdf:li xml:lang="x-default">${STATEMENT}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>`;
  if (new TextEncoder().encode(packet).length > MOST_BYTES) throw new Error("The name of the model is too long for a mark.");
  return packet;
}

/** The SHA-256 of `bytes`, in hexadecimal. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const { crypto } = globalThis as unknown as { crypto?: { subtle?: Digests } };
  if (!crypto?.subtle) throw new Error("The browser makes no checksums for this page: open it on localhost or by https."); // http
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The PNG (an animated one too) with `xmp` in place of what packet it had. */
export function withXmpPng(png: Uint8Array, xmp: string): Uint8Array {
  const [header, ...chunks] = pngChunks(png), key = new TextEncoder().encode("XML:com.adobe.xmp\0");
  const ours = pngChunk("iTXt", joined([key, new Uint8Array(4), new TextEncoder().encode(xmp)])); // plain, of no language
  const others = chunks.filter(({ kind, body }) => kind !== "iTXt" || !startsWith(body, key));
  return joined([PNG_SIGNATURE, header.whole, ours, ...others.map(({ whole }) => whole)]);
}

/** The JPEG with `xmp` in place of what packet it had. */
export function withXmpJpeg(jpeg: Uint8Array, xmp: string): Uint8Array {
  const namespace = new TextEncoder().encode("http://ns.adobe.com/xap/1.0/\0"), packet = new TextEncoder().encode(xmp);
  const longer = new TextEncoder().encode("http://ns.adobe.com/xmp/extension/\0"); // the rest of a long packet
  const length = 2 + namespace.length + packet.length;
  if (length > 0xffff) throw new Error("The mark is too long for a JPEG.");
  const ours = joined([Uint8Array.of(0xff, 0xe1, length >> 8, length & 0xff), namespace, packet]);
  const { segments, rest } = jpegSegments(jpeg);
  const isXmp = (content: Uint8Array): boolean => startsWith(content, namespace) || startsWith(content, longer);
  const kept = segments.filter((each) => each[1] !== 0xe1 || !isXmp(each.subarray(4)));
  const other = kept.findIndex((each) => each[1] !== 0xe0), at = other < 0 ? kept.length : other; // JFIF wants to be the first
  return joined([jpeg.subarray(0, 2), ...kept.slice(0, at), ours, ...kept.slice(at), rest]);
}

/** The segments of a JPEG before its first scan, and what comes after them. */
function jpegSegments(jpeg: Uint8Array): { segments: Uint8Array[]; rest: Uint8Array } {
  const segments: Uint8Array[] = [];
  if (jpeg[0] !== 0xff || jpeg[1] !== 0xd8) throw new Error("The picture is not a JPEG.");
  let at = 2;
  while (jpeg[at] === 0xff && jpeg[at + 1] !== 0xda) {
    const length = 2 + jpeg[at + 2] * 256 + jpeg[at + 3];
    if (!(length >= 4 && length <= jpeg.length - at)) break; // NaN where the file ends
    segments.push(jpeg.subarray(at, at + length));
    at += length;
  }
  if (jpeg[at] !== 0xff || jpeg[at + 1] !== 0xda) throw new Error("The JPEG is damaged.");
  return { segments, rest: jpeg.subarray(at) };
}

export interface Chunk {
  readonly kind: string;
  readonly body: Uint8Array;
  readonly whole: Uint8Array; // with its length, type and checksum
}

export const PNG_SIGNATURE: Uint8Array = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** Every chunk of a PNG from IHDR to IEND, as views of it. Throws an Error where it is no PNG, or not whole. */
export function pngChunks(png: Uint8Array): Chunk[] {
  if (!startsWith(png, PNG_SIGNATURE)) throw new Error("The picture is not a PNG.");
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength), chunks: Chunk[] = [];
  let at = PNG_SIGNATURE.length, kind = "";
  while (kind !== "IEND") {
    const length = at + 12 <= png.length ? view.getUint32(at) : Infinity;
    if (length > png.length - at - 12) throw new Error("The PNG is cut short.");
    const end = at + 12 + length;
    if (view.getUint32(end - 4) !== crc32(png.subarray(at + 4, end - 4))) throw new Error("The PNG is damaged.");
    kind = String.fromCharCode(...png.subarray(at + 4, at + 8));
    chunks.push({ kind, body: png.subarray(at + 8, end - 4), whole: png.subarray(at, end) });
    at = end;
  }
  if (chunks[0].kind !== "IHDR" || chunks[0].body.length !== 13) throw new Error("The PNG is damaged.");
  return chunks;
}

/** A whole chunk: length, type, content, checksum. */
export function pngChunk(kind: string, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(12 + body.length), view = new DataView(whole.buffer);
  view.setUint32(0, body.length);
  whole.set(Array.from(kind, (letter) => letter.charCodeAt(0)), 4);
  whole.set(body, 8);
  view.setUint32(8 + body.length, crc32(whole.subarray(4, 8 + body.length)));
  return whole;
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) value = CRC[(value ^ bytes[at]) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

function startsWith(bytes: Uint8Array, beginning: Uint8Array): boolean {
  return bytes.length >= beginning.length && beginning.every((byte, at) => bytes[at] === byte);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

"""The mark of a restored file: an XMP packet that says what kind of content it is and which model made it."""

from __future__ import annotations

import importlib.metadata
import io
import re
import xml.etree.ElementTree as xml
from xml.sax.saxutils import escape

STATEMENT = "Restored by a model: what it shows is a plausible invention, not a record of what was there, and not evidence."
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_SOURCE = "photomend:SourceSHA256"
MOST_BYTES = 60_000  # of a packet: a JPEG has room for 65,502 in one piece

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_INSTRUCTION = "{http://ns.adobe.com/photoshop/1.0/}Instructions"
_OURS = {
    f"{{{_XMP}}}CreatorTool",
    "{urn:photomend:1.0/}SourceSHA256",
    *(f"{{{_IPTC}}}{name}" for name in ("DigitalSourceType", "AISystemUsed", "AISystemVersionUsed")),
}

_LOCATION = (  # what the names of properties begin with that say where a photo was taken
    "{http://ns.adobe.com/exif/1.0/}GPS", f"{{{_IPTC}}}Location",
    *(f"{{http://ns.adobe.com/photoshop/1.0/}}{name}" for name in ("City", "State", "Country")),
    *(f"{{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}}{name}" for name in ("Location", "CountryCode")),
)  # fmt: skip

_CAPTION = '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{statement}</rdf:li></rdf:Alt></dc:description>'
_INSTRUCTIONS = "<photoshop:Instructions>{statement}</photoshop:Instructions>"  # where the photo has a caption of its own
_DESCRIPTION = """<rdf:Description rdf:about=""
    xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
    xmlns:photomend="urn:photomend:1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
   <Iptc4xmpExt:AISystemUsed>{model}</Iptc4xmpExt:AISystemUsed>
   <Iptc4xmpExt:AISystemVersionUsed>sha256:{sha256}</Iptc4xmpExt:AISystemVersionUsed>
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   {source}{said}
  </rdf:Description>"""
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  {descriptions}
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def mark(model: str, sha256: str, before: bytes | None = None, *, gps: bool = True, source: str | None = None) -> bytes:
    """The XMP packet of a restored file (IPTC Photo Metadata 2025.1), with what the photo's own packet `before` said.

    A caption of the photo stays, and the statement then stands in the instructions, before those of the photo. A packet that
    cannot be understood, or that is too long to be kept, is left out. `source`: the SHA-256 of the file that was restored.
    """
    tool = f"photomend {importlib.metadata.version('photomend')}"
    model = "".join(letter if letter.isprintable() else "?" for letter in model)
    told = {"source_type": SOURCE_TYPE, "model": model, "sha256": sha256, "tool": tool}
    told = {name: escape(value) for name, value in told.items()}
    held = _held(before or b"", gps)
    captioned = any(element.find(f"{{{_DC}}}description") is not None for element in held)
    statement = f"{STATEMENT} {_taken(held, _INSTRUCTION)}".strip() if captioned else STATEMENT
    said = (_INSTRUCTIONS if captioned else _CAPTION).format(statement=escape(statement))
    tag = f"<{_SOURCE}>{source}</{_SOURCE}>\n   " if source else ""
    ours = _DESCRIPTION.format(**told, said=said, source=tag)
    whole = [ours, *(xml.tostring(element, "unicode") for element in held)]
    packet = _PACKET.format(descriptions="\n  ".join(whole)).encode("utf-8")
    return packet if len(packet) <= MOST_BYTES else mark(model, sha256, source=source)


def is_marked(data: bytes) -> bool:
    """True where a file with the bytes `data` carries the mark of photomend."""
    return SOURCE_TYPE.encode() in data and b"<xmp:CreatorTool>photomend " in data


def source_of(data: bytes) -> str | None:
    """The SHA-256 of the file that a marked one with the bytes `data` was restored from, where it says so."""
    found = re.search(rb"<%b>([0-9a-f]{64})</" % _SOURCE.encode(), data)
    return found[1].decode() if found else None


def _taken(held: list[xml.Element], name: str) -> str:
    """What `held` say under a name that a packet has once alone, less what an earlier mark said; it stands there no more."""
    said = [element.attrib.pop(name) for element in held if name in element.attrib]
    for element in held:
        for child in element.findall(name):
            said.append("".join(child.itertext()))
            element.remove(child)
    return " ".join(filter(None, (each.replace(STATEMENT, "").strip() for each in said)))


def _held(packet: bytes, gps: bool) -> list[xml.Element]:
    """What a packet describes, without what the mark says anew, and without the location if that is not to be kept."""
    if len(packet) > MOST_BYTES or re.search(rb"<!(DOCTYPE|ENTITY)", packet):  # XMP has none; entities may unfold without end
        return []
    try:
        for _, (prefix, uri) in xml.iterparse(io.BytesIO(packet), events=["start-ns"]):
            if prefix and not re.fullmatch(r"ns\d+", prefix):
                xml.register_namespace(prefix, uri)
        root = xml.fromstring(packet)
    except (xml.ParseError, ValueError, LookupError):
        return []
    held = []
    for element in root.iter(f"{{{_RDF}}}Description"):
        for name in [name for name in element.attrib if name in _OURS or (not gps and name.startswith(_LOCATION))]:
            del element.attrib[name]
        for child in [child for child in element if not gps and str(child.tag).startswith(_LOCATION)]:
            element.remove(child)
        for child in [child for child in element if child.tag in _OURS or "".join(child.itertext()).strip() == STATEMENT]:
            element.remove(child)
        element.tail = None
        if len(element) or set(element.attrib) - {f"{{{_RDF}}}about"}:
            held.append(element)
    return held

"""The mark of a restored file, alone and beside what the photo's own packet said."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from dataset_tools import image_io
from pipelines.mark import MOST_BYTES, SOURCE_TYPE, STATEMENT, is_marked, mark
from tests.conftest import textured

PHOTOSHOP = b"http://ns.adobe.com/photoshop/1.0/"
BEFORE = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 7.0">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmp:CreatorTool="Lightroom" xmp:Rating="5" crs:Exposure="+0.35">
   <dc:subject><rdf:Bag><rdf:li>Oma &amp; Opa</rdf:li></rdf:Bag></dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">At the lake, 1962</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def test_the_mark_is_xml_that_tells_what_the_content_is() -> None:
    packet = mark("<faces> & \x00\udcff", "ab" * 32)
    root = ElementTree.fromstring(packet)
    told = {element.tag.rpartition("}")[2]: element.text for element in root.iter() if element.text and element.text.strip()}
    assert told["DigitalSourceType"] == "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    assert told["DigitalSourceType"] == SOURCE_TYPE
    assert told["CreatorTool"].startswith("photomend 0.")
    assert told["AISystemUsed"] == "<faces> & ??"
    assert told["AISystemVersionUsed"] == "sha256:" + "ab" * 32
    assert told["li"] == STATEMENT
    assert "plausible invention" in STATEMENT


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_written_format_carries_the_mark(format: str) -> None:
    packet = mark("faces", "0" * 64)
    data = image_io.encode(textured(3), format, packet)
    assert packet in data
    assert is_marked(data)
    assert not is_marked(image_io.encode(textured(3), format))


def test_what_the_photo_said_of_itself_stays_beside_the_mark() -> None:
    packet = mark("faces", "ab" * 32, BEFORE)
    text = packet.decode()
    for kept in ('Rating="5"', 'Exposure="+0.35"', "Oma &amp; Opa", "At the lake, 1962"):
        assert text.count(kept) == 1
    assert "Lightroom" not in text
    assert text.count("CreatorTool") == 2  # begin and end of one element
    assert f"<photoshop:Instructions>{STATEMENT}</photoshop:Instructions>" in text
    assert text.count("dc:description>") == 2
    assert is_marked(packet)
    ElementTree.fromstring(packet)


@pytest.mark.parametrize("as_attribute", [True, False])
def test_instructions_of_the_photo_stand_behind_the_statement(as_attribute: bool) -> None:
    """A property may stand in a packet once; there were two."""
    namespace = b' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    told = b' photoshop:Instructions="Do not crop"' if as_attribute else b""
    child = b"" if as_attribute else b"<photoshop:Instructions>Do not crop</photoshop:Instructions>"
    before = BEFORE.replace(b"<dc:description>", child + b"<dc:description>").replace(
        b"<rdf:Description", b"<rdf:Description" + namespace + told
    )
    once = mark("faces", "ab" * 32, before)
    for packet in (once, mark("second", "cd" * 32, once)):
        found = ElementTree.fromstring(packet).iter("{http://ns.adobe.com/photoshop/1.0/}Instructions")
        assert [element.text for element in found] == [f"{STATEMENT} Do not crop"]
        assert b"photoshop:Instructions=" not in packet
        assert is_marked(packet)


def test_a_file_that_is_restored_twice_carries_one_mark() -> None:
    twice = mark("second", "cd" * 32, mark("first", "ab" * 32))
    text = twice.decode()
    assert "first" not in text
    assert text.count(SOURCE_TYPE) == text.count(STATEMENT) == 1
    thrice = mark("second", "cd" * 32, mark("second", "cd" * 32, BEFORE)).decode()
    assert thrice.count(STATEMENT) == thrice.count("At the lake, 1962") == 1


@pytest.mark.parametrize("before", [
    b"", b"<not xml", b"\xff\xfe\x00", b"<x/>", BEFORE[:300], BEFORE * 2,
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>',
    b"<x>" + b"y" * MOST_BYTES + b"</x>", BEFORE.replace(b"At the lake", b"z" * (MOST_BYTES - 900)),
    b'<?xml version="1.0" encoding="klingon"?><x/>',
])  # fmt: skip
def test_a_packet_that_cannot_be_kept_leaves_the_mark_alone(before: bytes) -> None:
    assert mark("faces", "ab" * 32, before) == mark("faces", "ab" * 32)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_packet_of_a_photo_is_read(format: str) -> None:
    data = image_io.encode(textured(3), format, BEFORE)
    assert image_io.decode(data, "photo").info.xmp == BEFORE
    assert image_io.decode(image_io.encode(textured(3), format), "photo").info.xmp is None


def test_the_location_in_xmp_goes_where_it_is_not_wanted() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,51.5N" '
        b'exif:FNumber="28/10"><exif:GPSLongitude>2,17.7E</exif:GPSLongitude></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    assert b"48,51.5N" in mark("m", "0", packet)
    without = mark("m", "0", packet, gps=False)
    assert b"GPS" not in without
    assert b"28/10" in without
    words = packet.replace(b"exif:GPSLatitude", b"photoshop:City").replace(b"http://ns.adobe.com/exif/1.0/", PHOTOSHOP)
    words = words.replace(b"xmlns:exif", b"xmlns:photoshop").replace(b"exif:", b"photoshop:")
    assert b"48,51.5N" in mark("m", "0", words)
    assert b"48,51.5N" not in mark("m", "0", words, gps=False)

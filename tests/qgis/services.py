"""A map server on this machine: XYZ tiles and WMS pictures of one made-up world, and failures on request."""

from __future__ import annotations

import io
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import numpy as np
from osgeo import gdal

HALF = math.pi * 6_378_137  # of the world in EPSG:3857
STRIPE = 640.0  # metres: red, green and blue stripes of this width from west to east
_CAPABILITIES = """<?xml version="1.0"?><WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms"
 xmlns:xlink="http://www.w3.org/1999/xlink"><Service><Name>WMS</Name><Title>stripes</Title></Service><Capability>
<Request><GetCapabilities><Format>text/xml</Format></GetCapabilities><GetMap><Format>image/png</Format><DCPType><HTTP>
<Get><OnlineResource xlink:href="{url}/wms?"/></Get></HTTP></DCPType></GetMap></Request><Layer><Title>all</Title>
<Layer><Name>stripes</Name><Title>stripes</Title><CRS>EPSG:3857</CRS><EX_GeographicBoundingBox>
<westBoundLongitude>-170</westBoundLongitude><eastBoundLongitude>170</eastBoundLongitude>
<southBoundLatitude>-80</southBoundLatitude><northBoundLatitude>80</northBoundLatitude></EX_GeographicBoundingBox>
<BoundingBox CRS="EPSG:3857" minx="-19000000" miny="-15000000" maxx="19000000" maxy="15000000"/></Layer></Layer>
</Capability></WMS_Capabilities>"""

_XML = """<?xml version="1.0"?><{tag} version="1.0.0" xmlns="http://www.opengis.net/wcs"
 xmlns:gml="http://www.opengis.net/gml" xmlns:xlink="http://www.w3.org/1999/xlink">{inside}</{tag}>"""
_NAMED = """<name>scene</name><label>scene</label><lonLatEnvelope srsName="urn:ogc:def:crs:OGC:1.3:CRS84">
<gml:pos>15.0 45.147</gml:pos><gml:pos>15.0115 45.1534</gml:pos></lonLatEnvelope>"""
_GET = "<DCPType><HTTP><Get><OnlineResource xlink:href='{url}/wcs?'/></Get></HTTP></DCPType>"
_OFFER = """<CoverageOffering>{named}<domainSet><spatialDomain><gml:Envelope srsName="EPSG:32633">
<gml:pos>500000 4999300</gml:pos><gml:pos>500900 5000000</gml:pos></gml:Envelope><gml:RectifiedGrid dimension="2">
<gml:limits><gml:GridEnvelope><gml:low>0 0</gml:low><gml:high>89 69</gml:high></gml:GridEnvelope></gml:limits>
<gml:axisName>x</gml:axisName><gml:axisName>y</gml:axisName><gml:origin><gml:pos>500000 5000000</gml:pos></gml:origin>
<gml:offsetVector>10 0</gml:offsetVector><gml:offsetVector>0 -10</gml:offsetVector></gml:RectifiedGrid></spatialDomain>
</domainSet><rangeSet><RangeSet><name>r</name><label>r</label></RangeSet></rangeSet><supportedCRSs>
<requestResponseCRSs>EPSG:32633</requestResponseCRSs><nativeCRSs>EPSG:32633</nativeCRSs></supportedCRSs>
<supportedFormats nativeFormat="GTiff"><formats>GTiff</formats></supportedFormats></CoverageOffering>"""


def coverage(url: str, asked: dict, raster: str) -> tuple[str, bytes]:
    """What a WCS 1.0.0 with one coverage, a file in UTM, answers: kind and data."""
    if asked["request"] == "DescribeCoverage":
        return "text/xml", _XML.format(tag="CoverageDescription", inside=_OFFER.format(named=_NAMED)).encode()
    if asked["request"] == "GetCapabilities":
        calls = ("GetCapabilities", "DescribeCoverage", "GetCoverage")
        requests = "".join(f"<{call}>{_GET.format(url=url)}</{call}>" for call in calls)
        inside = (
            f"<Service><name>WCS</name><label>WCS</label></Service><Capability><Request>{requests}</Request></Capability>"
            f"<ContentMetadata><CoverageOfferingBrief>{_NAMED}</CoverageOfferingBrief></ContentMetadata>"
        )
        return "text/xml", _XML.format(tag="WCS_Capabilities", inside=inside).encode()
    west, south, east, north = (float(v) for v in asked["bbox"].split(","))
    name, size = f"/vsimem/coverage-{threading.get_ident()}.tif", (int(asked["width"]), int(asked["height"]))
    box = (west, south, east, north)
    gdal.Warp(name, raster, outputBounds=box, width=size[0], height=size[1], resampleAlg="near").FlushCache()
    return "image/tiff", _taken(name)


def _taken(name: str) -> bytes:
    """The bytes of a file in memory, which goes."""
    file = gdal.VSIFOpenL(name, "rb")
    data = gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file)
    gdal.VSIFCloseL(file)
    gdal.Unlink(name)
    return bytes(data)


def stripe_at(x: np.ndarray) -> np.ndarray:
    """0, 1, 2: which colour lies at a place."""
    return (np.floor(x / STRIPE) % 3).astype(int)


def picture(west: float, south: float, east: float, north: float, width: int, height: int) -> bytes:
    """PNG with transparency of an extent."""
    x = west + (np.arange(width) + 0.5) * (east - west) / width
    colors = np.where(stripe_at(x)[None] == np.arange(3)[:, None], 200, 40)
    pixels = np.full((4, height, width), 255, np.uint8)
    pixels[:3] = colors[:, None]
    target = gdal.GetDriverByName("MEM").Create("", width, height, 4)
    for number in range(4):
        target.GetRasterBand(number + 1).WriteArray(pixels[number])
    name = f"/vsimem/picture-{threading.get_ident()}.png"
    gdal.GetDriverByName("PNG").CreateCopy(name, target)
    return _taken(name)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, url = self.server, urlparse(self.path)
        server.paths.append(self.path)
        asked = {key.lower(): values[0] for key, values in parse_qs(url.query).items()}
        if server.broken and asked.get("request") != "GetCapabilities":
            self.send_error(503, "overloaded")
            return
        if url.path == "/wcs":
            self._send(*coverage(server.url, asked, server.raster))
        elif asked.get("request") == "GetCapabilities":
            self._send("text/xml", _CAPABILITIES.format(url=server.url).encode())
        elif url.path == "/wms":
            box = [float(v) for v in asked["bbox"].split(",")]
            self._send("image/png", picture(*box, int(asked["width"]), int(asked["height"])))
        else:
            zoom, column, row = (int(part) for part in url.path.strip("/").removesuffix(".png").split("/"))
            side = 2 * HALF / 2**zoom
            west, north = column * side - HALF, HALF - row * side
            self._send("image/png", picture(west, north - side, west + side, north, 256, 256))

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(io.BytesIO(data).getvalue())

    def log_message(self, *arguments) -> None:
        """Say nothing."""


@contextmanager
def running_server():
    """A server with ``url``, ``paths`` (what was asked for) and ``broken``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.url, server.paths, server.broken = f"http://127.0.0.1:{server.server_port}", [], False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

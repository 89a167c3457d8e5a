"""GeoAware: land-cover maps from self-supervised models, in QGIS."""


def classFactory(iface):
    """Make the plugin; imported here so that QGIS starts fast and can report import errors."""
    from .plugin import GeoAwarePlugin

    return GeoAwarePlugin(iface)

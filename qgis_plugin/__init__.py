"""GeoAware: land-cover maps from self-supervised models, in QGIS."""


def classFactory(iface):
    """Make the plugin; imports stay inside so that QGIS starts fast and can report what fails."""
    from .plugin import GeoAwarePlugin

    return GeoAwarePlugin(iface)

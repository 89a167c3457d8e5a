"""GeoAware: land-cover maps from self-supervised models, in QGIS."""


def classFactory(iface):  # noqa: N802, the name QGIS calls
    """Make the plugin; imports stay inside so that QGIS starts fast and can report what fails."""
    from .plugin import GeoAwarePlugin

    return GeoAwarePlugin(iface)

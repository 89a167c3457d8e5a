"""Where the features of layers are kept."""

from pathlib import Path

from qgis.core import QgsApplication


def cache_folder() -> Path:
    """In the profile, shared by all projects; it is made when the first features are kept."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "features"

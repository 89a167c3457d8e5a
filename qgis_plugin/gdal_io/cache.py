"""Features of layers on the disk: where they are kept, and how GDAL writes and reads them."""

from pathlib import Path

from qgis.core import QgsApplication

from ..runtime.learn.cache import FeatureCache
from .files import FileLayer
from .writer import GdalWriter


def cache_folder() -> Path:
    """In the profile, shared by all projects; it is made when the first features are kept."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "features"


def feature_cache(folder: Path) -> FeatureCache:
    """A folder of features, which need not be there."""
    return FeatureCache(folder, GdalWriter, lambda path: FileLayer(path.name, "", str(path), (), {}, ()).open())

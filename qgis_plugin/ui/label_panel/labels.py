"""The labels of a raster layer while the panel works on them: every change is on disk before anybody hears of it.

Undo and redo are steps of this module, because QGIS forgets its own whenever a layer is written.
"""

import re
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Callable, Optional

from qgis.core import (
    QgsApplication,
    QgsGeometry,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ...runtime.errors import InputFault
from ...runtime.raster.legend import MOST_CLASSES, LandClass, class_name, palette
from ...texts import tr, words
from . import label_file
from .label_file import LabelState, PaintedLabel
from .label_style import show_classes
from .shapes import polygons, shapes_on

RASTER_PROPERTY = "geoaware/labels_of"  # of a label layer: id of its raster layer
_STEPS = 200  # that can be undone


class LabelStore(QObject):
    """Classes and labels of one raster layer.

    Attributes:
        path: the GeoPackage; None before the first change.
        layer: it in the project; None where there is none.
        state: what the file holds.
    """

    changed = pyqtSignal()  # labels or classes
    problem = pyqtSignal(str)  # one sentence

    def __init__(self) -> None:
        super().__init__()
        self.path: Optional[Path] = None
        # not the layer's own signal, which comes when it is gone for Python
        QgsProject.instance().layersWillBeRemoved.connect(self._removing)
        self.raster: Any = None
        self.layer: Any = None
        self.crs: Any = None
        self._forget()

    # what there is

    @property
    def classes(self) -> "tuple[LandClass, ...]":
        """All classes in their order."""
        return self.state.classes

    def marks(self) -> "list[tuple[int, int, QgsGeometry]]":
        """Number of each label, index of its class, its polygons in ``crs``."""
        places = {one.value: index for index, one in enumerate(self.classes)}
        return [(number, places[label.value], label.shape) for number, label in sorted(self.state.labels.items())]

    @property
    def source(self) -> str:
        """The label layer for Processing: its id, or its file where the layer was removed."""
        return self.layer.id() if self.layer is not None else self._uri()

    def _uri(self) -> str:
        return f"{self.path}|layername={label_file.LABELS}"

    def counts(self) -> "list[int]":
        """Labels of each class."""
        values = [label.value for label in self.state.labels.values()]
        return [values.count(one.value) for one in self.classes]

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step."""
        return bool(self._undone)

    # the file

    def open(self, raster) -> None:
        """Take the labels of a raster layer from its label layer in the project, or else from its file.

        Raises:
            InputFault: they cannot be read.
        """
        self.close()
        self.raster, self.crs = raster, raster.crs()
        problem, layers = "", [one for one in _vector_layers() if one.customProperty(RASTER_PROPERTY) == raster.id()]
        layer = next((one for one in layers if one.isValid()), None)
        found = None if layer is not None else next((one for one in self._candidates() if self._is_ours(one)), None)
        if found is not None:
            problem = self._read(found)
            self._show()
        elif layers:  # also one whose file is gone, which is said
            layer = layer or layers[0]
            problem = self._read(Path(layer.source().split("|")[0]))
            self.crs = layer.crs()
            self._take(layer)
        self.changed.emit()
        if problem:
            self.problem.emit(problem)

    def _read(self, path: Path) -> str:
        """Take the labels of a file; those that were edited elsewhere get name and colour of their class, which is said."""
        state, problem = label_file.read(path), ""
        if not label_file.agrees(path):
            problem = tr("The number of a label's class counts: its name and colour were set to those of that class.")
            try:
                label_file.write(path, LabelState(state.labels), state)
            except InputFault as fault:
                problem = words(fault)
        self.state, self.path, self._used = state, path, label_file.last_number(path)
        return problem

    def stop(self) -> None:
        """Close for good."""
        QgsProject.instance().layersWillBeRemoved.disconnect(self._removing)
        self.close()

    def close(self) -> None:
        """Let go of the layer; the file holds everything already."""
        self._let_go()
        self._forget()
        self.raster = None

    # changes: each raises InputFault where it cannot be written, and changes nothing then

    def add_class(self, name: str = "", color: str = "") -> LandClass:
        """A new class at the end; named and coloured where nothing is given."""
        value = self._free_value([one.value for one in self.classes])
        made = LandClass(value, self._checked(name or self._new_name(), None), color or self._new_color())
        self._change(LabelState(self.state.labels, _ordered([*self.classes, made])))
        return made

    def change_class(self, index: int, name: str = "", color: str = "") -> None:
        """Give a class another name or colour."""
        old = self.classes[index]
        new = replace(old, name=self._checked(name, index) if name else old.name, color=color or old.color)
        self._change(LabelState(self.state.labels, (*self.classes[:index], new, *self.classes[index + 1 :])))

    def remove_class(self, index: int) -> None:
        """Remove a class with its labels."""
        value = self.classes[index].value
        kept = {number: label for number, label in self.state.labels.items() if label.value != value}
        self._change(LabelState(kept, (*self.classes[:index], *self.classes[index + 1 :])))

    def paint(self, index: int, shape: QgsGeometry, crs) -> None:
        """Label polygons, or the pixel at a point: they are taken from other classes, and one with labels they overlap.

        Raises:
            InputFault: they lie outside the raster layer.
        """
        shape, value = self._inside(crs)(shape), self.classes[index].value
        labels = dict(self.state.labels)
        for number, label in self._touched(shape):
            if label.value == value:
                shape = shape.combine(label.shape)
                del labels[number]
            else:
                self._cut(labels, number, shape)
        labels[max(self._used, *self.state.labels, 0) + 1] = PaintedLabel(value, polygons(shape))
        self._change(LabelState(labels, self.classes))

    def erase(self, shape: QgsGeometry, crs) -> None:
        """Take polygons from all labels."""
        shape = self._inside(crs)(shape)
        labels = dict(self.state.labels)
        for number, _ in self._touched(shape):
            self._cut(labels, number, shape)
        if labels != self.state.labels:
            self._change(LabelState(labels, self.classes))

    def take(self, classes: "list[LandClass]", shapes: "list[tuple[str, QgsGeometry]]", crs) -> int:
        """Add labels as they are, by the names of their classes, which are added where they are new.

        Returns:
            Number of labels that lie outside the raster layer and were left out.

        Raises:
            InputFault: all of them do.
        """
        known, added = {_plain(one.name): one.value for one in self.classes}, []
        for one in classes:
            if _plain(one.name) not in known:
                value = self._free_value([*known.values()], one.value)
                known[_plain(one.name)] = value
                added.append(replace(one, value=value))
        labels, left_out, number = dict(self.state.labels), 0, max(self._used, *self.state.labels, 0)
        inside = self._inside(crs)
        for name, shape in shapes:
            try:
                part = inside(shape)
            except InputFault:
                left_out += 1
                continue
            number += 1
            labels[number] = PaintedLabel(known[_plain(name)], part)
        if left_out == len(shapes):
            raise InputFault.worded(tr("All labels lie outside '{name}'.").format(name=self.raster.name()))
        self._change(LabelState(labels, _ordered([*self.classes, *added])))
        return left_out

    def undo(self) -> None:
        """Take the last step back."""
        self._step(self._done, self._undone)

    def redo(self) -> None:
        """Take the last undone step again."""
        self._step(self._undone, self._done)

    # inside

    def _forget(self) -> None:
        self.path = self.layer = self.crs = None
        self.state = LabelState()
        self._done: list[LabelState] = []
        self._undone: list[LabelState] = []
        self._used = 0  # the highest number that a label had

    def _change(self, after: LabelState) -> None:
        """One step that can be undone."""
        before = self.state
        self._write(after)
        self._done = [*self._done, before][-_STEPS:]
        self._undone = []
        self.changed.emit()

    def _step(self, steps: "list[LabelState]", others: "list[LabelState]") -> None:
        if steps:
            before = self.state
            self._write(steps[-1])
            others.append(before)
            steps.pop()
            self.changed.emit()

    def _write(self, after: LabelState) -> None:
        """To disk, then into the project's layer."""
        if self.layer is not None and self.layer.isEditable():
            text = tr("'{name}' is being edited: save or discard those edits first.")
            raise InputFault.worded(text.format(name=self.layer.name()))
        before, path, new = self.state, self.path, False
        if path is None or (not path.is_file() and path.parent.is_dir()):  # it was deleted: all of it is written again
            before, path, new = LabelState(), self._new_file(), True
        try:
            label_file.write(path, before, after)
        except label_file.LabelsMoved as fault:
            self._edited()
            text = tr("{problem} They were read again: repeat the last step.")
            raise InputFault.worded(text.format(problem=words(fault))) from fault
        restyled = self.layer is None or after.classes != self.state.classes
        if path != self.path:
            self.path = path
            if self.layer is not None:
                self.layer.setDataSource(self._uri(), self.layer.name(), "ogr")
        self.state, self._used = after, max(self._used, *after.labels, 0)
        if self.layer is None:
            self._show()
        elif restyled:
            show_classes(self.layer, after.classes)
        if new:
            self.layer.dataProvider().reloadData()  # which lets go of a file that is gone
        else:  # reloadData() closes the file, and QGIS 3.22 may end where a canvas is drawing from it
            self.layer.dataProvider().updateExtents()
            self.layer.updateExtents(True)
        self.layer.triggerRepaint()

    def _inside(self, crs) -> Callable[[QgsGeometry], QgsGeometry]:
        """A function that takes polygons of a CRS, or a point, to the part that lies on the raster layer, for the labels."""
        return shapes_on(self.raster, crs, self.crs)

    def _touched(self, shape: QgsGeometry) -> "list[tuple[int, PaintedLabel]]":
        """Labels that share more than a boundary with polygons."""
        engine = QgsGeometry.createGeometryEngine(shape.constGet())
        engine.prepareGeometry()
        box = shape.boundingBox()
        near = [(number, one) for number, one in self.state.labels.items() if one.shape.boundingBoxIntersects(box)]
        return [
            (number, one)
            for number, one in near
            if engine.intersects(one.shape.constGet()) and not engine.touches(one.shape.constGet())
        ]

    def _cut(self, labels: "dict[int, PaintedLabel]", number: int, shape: QgsGeometry) -> None:
        rest = polygons(labels[number].shape.difference(shape))
        if rest.isEmpty():
            del labels[number]
        else:
            labels[number] = PaintedLabel(labels[number].value, rest)

    def _checked(self, name: str, index: Optional[int]) -> str:
        """A name that no other class has."""
        name = " ".join(name.split())
        if not class_name(name):
            raise InputFault.worded(tr("A class needs a name."))
        if any(_plain(one.name) == _plain(name) and place != index for place, one in enumerate(self.classes)):
            raise InputFault.worded(tr("There is a class '{name}' already: give it another name.").format(name=name))
        return name

    def _free_value(self, used: "list[int]", wanted: int = 0) -> int:
        """The wanted value, or the one after the highest, or any; those from 1 to 254 fit a map of bytes."""
        if len(used) >= MOST_CLASSES:
            raise InputFault.worded(tr("There can be at most {count} classes.").format(count=MOST_CLASSES))
        choices = (wanted, max(used, default=0) + 1, *range(1, MOST_CLASSES + 1))
        return next(value for value in choices if 0 < value <= MOST_CLASSES and value not in used)

    def _new_name(self) -> str:
        names = {one.name for one in self.classes}
        return next(name for name in (tr("Class {number}").format(number=n) for n in count(1)) if name not in names)

    def _new_color(self) -> str:
        used = {one.color.upper() for one in self.classes}
        return next(color for color in map(palette, count(1)) if color not in used)

    def _candidates(self) -> "list[Path]":
        """Files of labels in all folders, first those with the name that a new one would have."""
        found = [path for folder in folders() for path in sorted(folder.glob("*_labels*.gpkg"))]
        return sorted(found, key=lambda path: not path.name.startswith(self._stem))  # the layer may have been renamed

    @property
    def _stem(self) -> str:
        safe = re.sub(r"[^\w-]+", "_", self.raster.name()).strip("_") or "layer"
        return f"{safe}_labels"

    def _is_ours(self, path: Path) -> bool:
        with suppress(InputFault):
            return label_file.raster_of(path) == self.raster.source()
        return False

    def _new_file(self) -> Path:
        """An empty file in the first folder that can be written to."""
        problem: Optional[InputFault] = None
        for folder in folders():
            names = (f"{self._stem}{suffix}.gpkg" for suffix in ("", *(f"_{n}" for n in range(2, 1000))))
            # nor may what SQLite has left of a deleted file belong to the new one
            path = next(
                path for path in map(folder.joinpath, names) if not (path.exists() or Path(f"{path}-wal").exists())
            )
            try:
                label_file.create(path, self.crs, self.raster.source())
            except InputFault as fault:
                problem = fault
                continue
            return path
        raise problem or InputFault.worded(tr("There is no folder for the labels."))

    def _show(self) -> None:
        """Add the file to the project, above all other layers."""
        name = tr("{name}: labels").format(name=self.raster.name())
        layer = QgsVectorLayer(self._uri(), name, "ogr")
        layer.setCustomProperty(RASTER_PROPERTY, self.raster.id())
        QgsProject.instance().addMapLayer(layer, False)
        QgsProject.instance().layerTreeRoot().insertLayer(0, layer)
        self._take(layer)

    def _take(self, layer) -> None:
        self.layer, self.crs = layer, layer.crs()
        show_classes(layer, self.classes)
        layer.afterCommitChanges.connect(self._edited)

    def _let_go(self) -> None:
        if self.layer is not None:
            self.layer.afterCommitChanges.disconnect(self._edited)
            self.layer = None

    def _removing(self, layers: "list[str]") -> None:
        if self.layer is None or self.layer.id() not in layers:
            return
        self._let_go()
        text = tr("The label layer was removed; its labels are in {path} and come back with the next one.")
        self.problem.emit(text.format(path=self.path))

    def _edited(self) -> None:
        """Somebody edited the layer in QGIS: read it again, and forget the steps, which no longer fit."""
        if self.path is None:
            return
        self._done, self._undone, problem = [], [], ""
        try:
            problem = self._read(self.path)
        except InputFault as fault:
            self.problem.emit(words(fault))
            return
        if self.layer is not None:
            show_classes(self.layer, self.classes)
        self.changed.emit()
        if problem:
            self.problem.emit(problem)


def _plain(name: str) -> str:
    """What makes a name differ from another, as for all labels (``classes_of``)."""
    return "".join(name.casefold().split())


def _ordered(classes: "list[LandClass]") -> "tuple[LandClass, ...]":
    return tuple(sorted(classes, key=lambda one: one.value))


def profile_folder() -> Path:
    """Folder of labels whose project has no file."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geoaware" / "labels"


def folders() -> "list[Path]":
    """Folders of label files: beside the project where it has a file, then the profile."""
    home = QgsProject.instance().absolutePath()
    return [*([Path(home)] if home else []), profile_folder()]


def _vector_layers() -> "list[Any]":
    return [one for one in QgsProject.instance().mapLayers().values() if isinstance(one, QgsVectorLayer)]


def missing(store: LabelStore) -> str:
    """What must be labelled before there can be a map, in one sentence; empty if there is enough."""
    labelled = [one.name for one, count in zip(store.classes, store.counts()) if count]
    if len(labelled) > 1:
        return ""
    if not store.classes:
        return tr("Add a class, then paint a few places of it.")
    if not labelled:
        return tr("Paint a few places of each class.")
    return tr("Only '{name}' has labels: label a second class.").format(name=labelled[0])

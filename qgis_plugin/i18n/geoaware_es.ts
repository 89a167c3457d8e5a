<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="es" sourcelanguage="en">
<context>
    <name>GeoAware</name>
    <message>
        <source>'Install' downloads {packages}: about {download} from the package index of pip, {disk} on disk. It goes into the folder below, in your profile; the system and the folders of QGIS are not changed. To uninstall all that was installed this way, delete the folder.</source>
        <translation>«Instalar» descarga {packages}: unos {download} del índice de paquetes de pip, {disk} en disco. Va a la carpeta indicada abajo, en su perfil; no se cambian ni el sistema ni las carpetas de QGIS. Para desinstalar todo lo que se instaló así, borre la carpeta.</translation>
    </message>
    <message>
        <source>'{name}' cannot be read: its source is gone or broken.</source>
        <translation>No se puede leer «{name}»: su fuente falta o está dañada.</translation>
    </message>
    <message>
        <source>'{name}' comes with the plugin and cannot be removed.</source>
        <translation>«{name}» viene con el complemento y no se puede quitar.</translation>
    </message>
    <message>
        <source>'{name}' has more than {count} features: select those that count.</source>
        <translation>«{name}» tiene más de {count} objetos: seleccione los que cuentan.</translation>
    </message>
    <message>
        <source>'{name}' holds no polygons.</source>
        <translation>«{name}» no contiene polígonos.</translation>
    </message>
    <message>
        <source>'{name}' is being edited: save or discard those edits first.</source>
        <translation>«{name}» se está editando: guarde o descarte primero esos cambios.</translation>
    </message>
    <message>
        <source>'{name}' says nothing of the values to drop; state them, or take one of {known}</source>
        <translation>«{name}» no dice qué valores se descartan; indíquelos o elija una de {known}</translation>
    </message>
    <message>
        <source>'{name}' was added.</source>
        <translation>Se ha añadido «{name}».</translation>
    </message>
    <message>
        <source>'{name}' was removed from the project.</source>
        <translation>Se ha quitado «{name}» del proyecto.</translation>
    </message>
    <message>
        <source>'{name}' was removed from the project; its labels are in {path}.</source>
        <translation>Se ha quitado «{name}» del proyecto; sus etiquetas están en {path}.</translation>
    </message>
    <message>
        <source>'{name}' was removed.</source>
        <translation>Se ha quitado «{name}».</translation>
    </message>
    <message>
        <source>'{text}' is no value that a mask band can hold; write values like 3, ranges like 8-10 and bits like bit3</source>
        <translation>«{text}» no es un valor que pueda tener una banda de máscara; escriba valores como 3, intervalos como 8-10 y bits como bit3</translation>
    </message>
    <message>
        <source>64 characters; required for downloads, optional for files</source>
        <translation>64 caracteres; obligatoria para descargas, opcional para archivos</translation>
    </message>
    <message>
        <source>A class needs a name.</source>
        <translation>Una clase necesita un nombre.</translation>
    </message>
    <message>
        <source>A package that is installed already is in use ({error}): restart QGIS and try again.</source>
        <translation>Un paquete ya instalado está en uso ({error}): reinicie QGIS e inténtelo de nuevo.</translation>
    </message>
    <message>
        <source>A run whose execution provider is 'auto' tries these on tiles of the layer itself, and takes the fastest that gives nearly the same classes, values, features or boxes as onnxruntime on the CPU.</source>
        <translation>Una ejecución cuyo proveedor de ejecución es «auto» los prueba con teselas de la propia capa y toma el más rápido que da casi las mismas clases, valores, características o cajas que onnxruntime en la CPU.</translation>
    </message>
    <message>
        <source>Add a class first.</source>
        <translation>Añada primero una clase.</translation>
    </message>
    <message>
        <source>Add a class, then paint a few places of it.</source>
        <translation>Añada una clase y pinte después algunos lugares de ella.</translation>
    </message>
    <message>
        <source>Add class</source>
        <translation>Añadir clase</translation>
    </message>
    <message>
        <source>All labels lie outside '{name}'.</source>
        <translation>Todas las etiquetas están fuera de «{name}».</translation>
    </message>
    <message>
        <source>GPUs of any make, through Vulkan, Direct3D 12 or Metal</source>
        <translation>GPU de cualquier marca, mediante Vulkan, Direct3D 12 o Metal</translation>
    </message>
    <message>
        <source>CPUs; needed for all models</source>
        <translation>CPU; necesario para todos los modelos</translation>
    </message>
    <message>
        <source>Bands and texture</source>
        <translation>Bandas y textura</translation>
    </message>
    <message>
        <source>Beside the project</source>
        <translation>Junto al proyecto</translation>
    </message>
    <message>
        <source>Brush (size: [ and ], or Shift and the wheel)</source>
        <translation>Pincel (tamaño: [ y ], o Mayús y la rueda)</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Cancelar</translation>
    </message>
    <message>
        <source>Choose a raster layer first.</source>
        <translation>Elija primero una capa ráster.</translation>
    </message>
    <message>
        <source>Choose a raster layer.</source>
        <translation>Elija una capa ráster.</translation>
    </message>
    <message>
        <source>Class {number}</source>
        <translation>Clase {number}</translation>
    </message>
    <message>
        <source>Classes and painting</source>
        <translation>Clases y pintura</translation>
    </message>
    <message>
        <source>Colour of the class</source>
        <translation>Color de la clase</translation>
    </message>
    <message>
        <source>Copy the labels of a vector layer with a field of classes</source>
        <translation>Copiar las etiquetas de una capa vectorial con un campo de clases</translation>
    </message>
    <message>
        <source>CPUs, GPUs and NPUs of Intel, CPUs of others</source>
        <translation>CPU, GPU y NPU de Intel; CPU de otros</translation>
    </message>
    <message>
        <source>Delete</source>
        <translation>Borrar</translation>
    </message>
    <message>
        <source>Delete the stored features of this layer</source>
        <translation>Borrar las características guardadas de esta capa</translation>
    </message>
    <message>
        <source>Device</source>
        <translation>Dispositivo</translation>
    </message>
    <message>
        <source>Devices…</source>
        <translation>Dispositivos…</translation>
    </message>
    <message>
        <source>does not load: {reason}</source>
        <translation>no se carga: {reason}</translation>
    </message>
    <message>
        <source>Encoder</source>
        <translation>Codificador</translation>
    </message>
    <message>
        <source>Encoder, bands and texture</source>
        <translation>Codificador, bandas y textura</translation>
    </message>
    <message>
        <source>Eraser</source>
        <translation>Borrador</translation>
    </message>
    <message>
        <source>fails</source>
        <translation>falla</translation>
    </message>
    <message>
        <source>Field of classes</source>
        <translation>Campo de clases</translation>
    </message>
    <message>
        <source>finds no device on this computer that it runs models on</source>
        <translation>no encuentra en este ordenador ningún dispositivo en el que ejecutar modelos</translation>
    </message>
    <message>
        <source>Folder with the wheels</source>
        <translation>Carpeta con los archivos wheel</translation>
    </message>
    <message>
        <source>From</source>
        <translation>A partir de</translation>
    </message>
    <message>
        <source>From a layer…</source>
        <translation>De una capa…</translation>
    </message>
    <message>
        <source>GeoAware: devices</source>
        <translation>GeoAware: dispositivos</translation>
    </message>
    <message>
        <source>GeoAware: labels to map</source>
        <translation>GeoAware: de etiquetas a mapa</translation>
    </message>
    <message>
        <source>GeoAware: looking for devices</source>
        <translation>GeoAware: buscando dispositivos</translation>
    </message>
    <message>
        <source>GeoAware: measuring {name}</source>
        <translation>GeoAware: midiendo {name}</translation>
    </message>
    <message>
        <source>GeoAware: reading the models</source>
        <translation>GeoAware: leyendo los modelos</translation>
    </message>
    <message>
        <source>GPUs of NVIDIA from the RTX series on</source>
        <translation>GPU de NVIDIA a partir de la serie RTX</translation>
    </message>
    <message>
        <source>Help</source>
        <translation>Ayuda</translation>
    </message>
    <message>
        <source>In the profile</source>
        <translation>En el perfil</translation>
    </message>
    <message>
        <source>Install…</source>
        <translation>Instalar…</translation>
    </message>
    <message>
        <source>Key</source>
        <translation>Tecla</translation>
    </message>
    <message>
        <source>Label a few places of the selected raster layer and watch the map grow</source>
        <translation>Etiquete algunos lugares de la capa ráster seleccionada y vea crecer el mapa</translation>
    </message>
    <message>
        <source>Labels</source>
        <translation>Etiquetas</translation>
    </message>
    <message>
        <source>Labels from a layer</source>
        <translation>Etiquetas de una capa</translation>
    </message>
    <message>
        <source>Labels to map…</source>
        <translation>De etiquetas a mapa…</translation>
    </message>
    <message>
        <source>Looking at what is installed…</source>
        <translation>Comprobando qué hay instalado…</translation>
    </message>
    <message>
        <source>Measure</source>
        <translation>Medir</translation>
    </message>
    <message>
        <source>Measuring… Other programs that run make it slower.</source>
        <translation>Midiendo… Otros programas en marcha lo hacen más lento.</translation>
    </message>
    <message>
        <source>Not installed</source>
        <translation>Sin instalar</translation>
    </message>
    <message>
        <source>NPUs of Qualcomm</source>
        <translation>NPU de Qualcomm</translation>
    </message>
    <message>
        <source>One band per class, 0 to 1.</source>
        <translation>Una banda por clase, de 0 a 1.</translation>
    </message>
    <message>
        <source>A file in any format that GDAL reads, or a service (WMS, XYZ tiles, WCS). Services need an extent or polygons.</source>
        <translation>Un archivo en cualquier formato que lea GDAL, o un servicio (WMS, teselas XYZ, WCS). Los servicios necesitan una extensión o polígonos.</translation>
    </message>
    <message>
        <source>Only '{name}' has labels: label a second class.</source>
        <translation>Solo «{name}» tiene etiquetas: etiquete una segunda clase.</translation>
    </message>
    <message>
        <source>onnxruntime cannot be used: {reason}</source>
        <translation>no se puede usar onnxruntime: {reason}</translation>
    </message>
    <message>
        <source>onnxruntime {minimum} or newer, and OpenVINO, which runs models faster</source>
        <translation>onnxruntime {minimum} o posterior y OpenVINO, que ejecuta los modelos más rápido</translation>
    </message>
    <message>
        <source>Package</source>
        <translation>Paquete</translation>
    </message>
    <message>
        <source>Paint a few places of each class.</source>
        <translation>Pinte algunos lugares de cada clase.</translation>
    </message>
    <message>
        <source>Point: one pixel</source>
        <translation>Punto: un píxel</translation>
    </message>
    <message>
        <source>Polygon (right click ends it)</source>
        <translation>Polígono (se cierra con el botón derecho)</translation>
    </message>
    <message>
        <source>Processor: {name}, cores used: {count}</source>
        <translation>Procesador: {name}, núcleos usados: {count}</translation>
    </message>
    <message>
        <source>Ratio</source>
        <translation>Relación</translation>
    </message>
    <message>
        <source>Redo (Ctrl+Shift+Z)</source>
        <translation>Rehacer (Ctrl+Mayús+Z)</translation>
    </message>
    <message>
        <source>Remove the class and its labels</source>
        <translation>Quitar la clase y sus etiquetas</translation>
    </message>
    <message>
        <source>Runs the model on noise, {seconds} s on each provider.</source>
        <translation>Ejecuta el modelo con ruido, {seconds} s con cada proveedor.</translation>
    </message>
    <message>
        <source>Selected features only</source>
        <translation>Solo los objetos seleccionados</translation>
    </message>
    <message>
        <source>Size of the brush in pixels of the screen</source>
        <translation>Tamaño del pincel en píxeles de la pantalla</translation>
    </message>
    <message>
        <source>Slightly more accurate, and eight times slower.</source>
        <translation>Un poco más exacto y ocho veces más lento.</translation>
    </message>
    <message>
        <source>Raster of class values, such as the output of 'Segment raster layer'.</source>
        <translation>Ráster de valores de clase, como la salida de «Segmentar capa ráster».</translation>
    </message>
    <message>
        <source>One row per class.</source>
        <translation>Una fila por clase.</translation>
    </message>
    <message>
        <source>Stored</source>
        <translation>Guardadas</translation>
    </message>
    <message>
        <source>That place lies outside '{name}'.</source>
        <translation>Ese lugar está fuera de «{name}».</translation>
    </message>
    <message>
        <source>The devices cannot be listed ({error}).</source>
        <translation>No se pueden listar los dispositivos ({error}).</translation>
    </message>
    <message>
        <source>The label layer was removed; its labels are in {path} and come back with the next one.</source>
        <translation>Se ha quitado la capa de etiquetas; sus etiquetas están en {path} y vuelven con la siguiente.</translation>
    </message>
    <message>
        <source>The labels are copied into the label layer of the panel; the layer stays as it is.</source>
        <translation>Las etiquetas se copian en la capa de etiquetas del panel; la capa queda como está.</translation>
    </message>
    <message>
        <source>The layer holds features</source>
        <translation>La capa contiene características</translation>
    </message>
    <message>
        <source>The number of a label's class counts: its name and colour were set to those of that class.</source>
        <translation>Cuenta el número de la clase de una etiqueta: su nombre y su color se han ajustado a los de esa clase.</translation>
    </message>
    <message>
        <source>There can be at most {count} classes.</source>
        <translation>Puede haber como máximo {count} clases.</translation>
    </message>
    <message>
        <source>There is a class '{name}' already: give it another name.</source>
        <translation>Ya hay una clase «{name}»: dele otro nombre.</translation>
    </message>
    <message>
        <source>There is no encoder in the library: add one with …, or choose bands and texture.</source>
        <translation>No hay ningún codificador en la biblioteca: añada uno con …, o elija bandas y textura.</translation>
    </message>
    <message>
        <source>There is no folder for the labels.</source>
        <translation>No hay carpeta para las etiquetas.</translation>
    </message>
    <message>
        <source>There is no place left to suggest: all that were looked at have labels.</source>
        <translation>No queda ningún lugar que proponer: todos los examinados tienen etiquetas.</translation>
    </message>
    <message>
        <source>Tiles per second</source>
        <translation>Teselas por segundo</translation>
    </message>
    <message>
        <source>Undo (Ctrl+Z)</source>
        <translation>Deshacer (Ctrl+Z)</translation>
    </message>
    <message>
        <source>a border needs an overlap of twice its size, and a model of the task segmentation, regression or embedding</source>
        <translation>un borde requiere un solapamiento del doble de su tamaño y un modelo de la tarea segmentation, regression o embedding</translation>
    </message>
    <message>
        <source>a temporary file</source>
        <translation>un archivo temporal</translation>
    </message>
    <message>
        <source>a terminal</source>
        <translation>una terminal</translation>
    </message>
    <message>
        <source>About a model</source>
        <translation>Acerca de un modelo</translation>
    </message>
    <message>
        <source>About the run</source>
        <translation>Sobre la ejecución</translation>
    </message>
    <message>
        <source>about {time}</source>
        <translation>unos {time}</translation>
    </message>
    <message>
        <source>Accuracy</source>
        <translation>Exactitud</translation>
    </message>
    <message>
        <source>Accuracy and areas</source>
        <translation>Exactitud y superficies</translation>
    </message>
    <message>
        <source>Add a model</source>
        <translation>Añadir un modelo</translation>
    </message>
    <message>
        <source>Add file…</source>
        <translation>Añadir archivo…</translation>
    </message>
    <message>
        <source>Added to Sentinel-2 values if the file does not state an offset.</source>
        <translation>Se suma a los valores de Sentinel-2 si el archivo no indica un desplazamiento.</translation>
    </message>
    <message>
        <source>Address</source>
        <translation>Dirección</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation>Avanzado</translation>
    </message>
    <message>
        <source>All or the selected polygons of a layer, in any CRS. Tiles that touch no polygon are not read.</source>
        <translation>Todos los polígonos de una capa o solo los seleccionados, en cualquier SRC. Las teselas que no tocan ninguno no se leen.</translation>
    </message>
    <message>
        <source>All or the selected polygons of a layer, taken together. A pixel counts if its centre lies in one of them.</source>
        <translation>Todos los polígonos de una capa o solo los seleccionados, en conjunto. Un píxel cuenta si su centro cae dentro de alguno.</translation>
    </message>
    <message>
        <source>any size</source>
        <translation>cualquier tamaño</translation>
    </message>
    <message>
        <source>Area</source>
        <translation>Zona</translation>
    </message>
    <message>
        <source>Areas</source>
        <translation>Superficies</translation>
    </message>
    <message>
        <source>areas</source>
        <translation>superficies</translation>
    </message>
    <message>
        <source>Areas are measured in the plane of the projection: {times} times the true area at the centre of the map.</source>
        <translation>Las superficies se miden en el plano de la proyección: {times} veces la superficie real en el centro del mapa.</translation>
    </message>
    <message>
        <source>Areas of classes</source>
        <translation>Superficies de las clases</translation>
    </message>
    <message>
        <source>Assess a map</source>
        <translation>Evaluar un mapa</translation>
    </message>
    <message>
        <source>Average over flips and rotations</source>
        <translation>Promediar sobre reflejos y giros</translation>
    </message>
    <message>
        <source>Bands</source>
        <translation>Bandas</translation>
    </message>
    <message>
        <source>Bands are matched by the names in the model card; B04 and red are the same band.</source>
        <translation>Las bandas se buscan por los nombres de la ficha del modelo; B04 y red son la misma.</translation>
    </message>
    <message>
        <source>Bands, in the model's order</source>
        <translation>Bandas, en el orden del modelo</translation>
    </message>
    <message>
        <source>Bands, in the model's order (empty: matched by name, else in their order)</source>
        <translation>Bandas, en el orden del modelo (vacío: por su nombre y, si no, por su orden)</translation>
    </message>
    <message>
        <source>cancelling</source>
        <translation>cancelándose</translation>
    </message>
    <message>
        <source>Boxes with a lower score are dropped; empty: every box that the model returns.</source>
        <translation>Se omiten los recuadros con menor puntuación; vacío: todos los que da el modelo.</translation>
    </message>
    <message>
        <source>Resample to the pixel size of the model</source>
        <translation>Remuestrear al tamaño de píxel del modelo</translation>
    </message>
    <message>
        <source>Cancel run</source>
        <translation>Cancelar la ejecución</translation>
    </message>
    <message>
        <source>Cancelled.</source>
        <translation>Cancelado.</translation>
    </message>
    <message>
        <source>Cancelled; nothing was installed.</source>
        <translation>Cancelado; no se ha instalado nada.</translation>
    </message>
    <message>
        <source>Cancelled; nothing was written.</source>
        <translation>Cancelado; no se ha escrito nada.</translation>
    </message>
    <message>
        <source>Checking…</source>
        <translation>Comprobando…</translation>
    </message>
    <message>
        <source>Checksum</source>
        <translation>Suma de verificación</translation>
    </message>
    <message>
        <source>Class</source>
        <translation>Clase</translation>
    </message>
    <message>
        <source>Classes</source>
        <translation>Clases</translation>
    </message>
    <message>
        <source>Classify scenes</source>
        <translation>Clasificar escenas</translation>
    </message>
    <message>
        <source>Click a GeoAware map to read class and confidence</source>
        <translation>Pulse en un mapa de GeoAware para leer la clase y la confianza</translation>
    </message>
    <message>
        <source>Confidence</source>
        <translation>Confianza</translation>
    </message>
    <message>
        <source>confidence</source>
        <translation>confianza</translation>
    </message>
    <message>
        <source>HTML page with confusion matrix, accuracies and areas.</source>
        <translation>Página HTML con matriz de confusión, exactitudes y superficies.</translation>
    </message>
    <message>
        <source>Copy command</source>
        <translation>Copiar la orden</translation>
    </message>
    <message>
        <source>Pixel counting is biased by the errors of the map; 'Assess a map' in the toolbox corrects the areas.</source>
        <translation>El recuento de píxeles está sesgado por los errores del mapa; «Evaluar un mapa», en la caja de herramientas, corrige las superficies.</translation>
    </message>
    <message>
        <source>Computes the features of an encoder for each position of a raster layer. Places that look alike have similar features: input for clustering, change maps or your own classifier.

Features: a coarse Cloud-Optimized GeoTIFF, 32-bit float, one band per feature.

Picture: the first three principal components of the features as red, green and blue.</source>
        <translation>Calcula las características de un codificador en cada posición de una capa ráster. Los lugares parecidos tienen características similares: sirven para agrupar, para mapas de cambios o para un clasificador propio.

Características: un GeoTIFF optimizado para la nube, de resolución gruesa y 32 bits en coma flotante, con una banda por característica.

Imagen: los tres primeros componentes principales de las características, como rojo, verde y azul.</translation>
    </message>
    <message>
        <source>Detect objects</source>
        <translation>Detectar objetos</translation>
    </message>
    <message>
        <source>Compatibility</source>
        <translation>Compatibilidad</translation>
    </message>
    <message>
        <source>dated {date} by its {tag}, which may be when the file was made</source>
        <translation>fechada el {date} por su {tag}, que puede ser cuando se creó el archivo</translation>
    </message>
    <message>
        <source>done in {time}</source>
        <translation>hecho en {time}</translation>
    </message>
    <message>
        <source>Download</source>
        <translation>Descargar</translation>
    </message>
    <message>
        <source>Embed raster layer</source>
        <translation>Extraer características de una capa ráster</translation>
    </message>
    <message>
        <source>OpenVINO or an execution provider of ONNX Runtime; auto is the fastest that agrees with ONNX Runtime on the CPU on tiles of the layer.</source>
        <translation>OpenVINO o un proveedor de ejecución de ONNX Runtime; auto es el más rápido que concuerda con ONNX Runtime en la CPU en teselas de la capa.</translation>
    </message>
    <message>
        <source>Extent</source>
        <translation>Extensión</translation>
    </message>
    <message>
        <source>Extent (empty: the whole layer)</source>
        <translation>Extensión (vacío: toda la capa)</translation>
    </message>
    <message>
        <source>failed</source>
        <translation>ha fallado</translation>
    </message>
    <message>
        <source>Features</source>
        <translation>Características</translation>
    </message>
    <message>
        <source>features</source>
        <translation>características</translation>
    </message>
    <message>
        <source>Field with the class</source>
        <translation>Campo con la clase</translation>
    </message>
    <message>
        <source>Field with the class (empty: the field named class)</source>
        <translation>Campo con la clase (vacío: el campo llamado class)</translation>
    </message>
    <message>
        <source>File</source>
        <translation>Archivo</translation>
    </message>
    <message>
        <source>Map the selected raster layer with an ONNX model</source>
        <translation>Cartografiar la capa ráster seleccionada con un modelo ONNX</translation>
    </message>
    <message>
        <source>Finds objects such as aircraft, ships or trees in a raster layer.

Objects: bounding boxes in a GeoPackage with class, name and score (0 to 1), in the colours of the model. An object seen by several tiles gives one box. If polygons limit the area, only objects whose centre lies in one of them are kept.</source>
        <translation>Encuentra objetos como aviones, barcos o árboles en una capa ráster.

Objetos: recuadros en un GeoPackage con clase, nombre y puntuación (de 0 a 1), en los colores del modelo. Un objeto que aparece en varias teselas da un solo recuadro. Si unos polígonos limitan la zona, solo quedan los objetos cuyo centro cae dentro de alguno.</translation>
    </message>
    <message>
        <source>For layers that declare no nodata value.</source>
        <translation>Para capas que no declaran ningún valor sin datos.</translation>
    </message>
    <message>
        <source>GeoAware: adding {name}</source>
        <translation>GeoAware: añadiendo {name}</translation>
    </message>
    <message>
        <source>GeoAware: checksum of {name}</source>
        <translation>GeoAware: suma de verificación de {name}</translation>
    </message>
    <message>
        <source>GeoAware: estimating the run</source>
        <translation>GeoAware: estimando la ejecución</translation>
    </message>
    <message>
        <source>GeoAware: help</source>
        <translation>GeoAware: ayuda</translation>
    </message>
    <message>
        <source>GeoAware: models</source>
        <translation>GeoAware: modelos</translation>
    </message>
    <message>
        <source>GeoAware: result</source>
        <translation>GeoAware: resultado</translation>
    </message>
    <message>
        <source>GeoPackage of patches that follow the pixel edges.</source>
        <translation>GeoPackage con las manchas, siguiendo los bordes de los píxeles.</translation>
    </message>
    <message>
        <source>GeoPackage.</source>
        <translation>GeoPackage.</translation>
    </message>
    <message>
        <source>Enter an address that begins with https:// and ends in .onnx.</source>
        <translation>Escriba una dirección que empiece por https:// y termine en .onnx.</translation>
    </message>
    <message>
        <source>Enter the SHA-256 checksum that is published with the model.</source>
        <translation>Escriba la suma de verificación SHA-256 que se publica con el modelo.</translation>
    </message>
    <message>
        <source>Gives every pixel of a raster layer a land-cover class, or a value if the model is a regression model.

The model is one ONNX file with a card: the bands it needs, their unit and pixel size, and its classes with their colours. Bands are matched by name; pixels of another size are resampled.

Land cover: a Cloud-Optimized GeoTIFF with class names, colours and an attribute table; nodata is 255 (65535 with more than 255 classes). The QGIS style is saved beside it. Pixels without data in any band get no class.

Confidence: probability of the class, 0 to 100 per cent. QGIS draws it over the map in grey, denser where the confidence is low.

Polygons: patches of one class in the same colours, with area and mean confidence.

Areas: pixels, hectares and per cent of each class. Pixel counting is biased by the errors of the map, which 'Assess a map' corrects.

Layers of other dates of the same place make a series, read on one grid: that of the CRS and pixel size of most of them, over all of them. A model of a series reads them all; one of a single date is run on each, and its probabilities are averaged. A pixel is mapped where at least one date holds data.

Nothing leaves this computer, unless the layer itself is a service.</source>
        <translation>Da a cada píxel de una capa ráster una clase de cobertura del suelo, o un valor si el modelo es de regresión.

El modelo es un archivo ONNX con una ficha: las bandas que necesita, su unidad y su tamaño de píxel, y sus clases con sus colores. Las bandas se asignan por su nombre; los píxeles de otro tamaño se remuestrean.

Cobertura del suelo: un GeoTIFF optimizado para la nube con nombres y colores de las clases y una tabla de atributos; sin datos es 255 (65535 con más de 255 clases). El estilo de QGIS se guarda a su lado. Los píxeles sin datos en alguna banda quedan sin clase.

Confianza: probabilidad de la clase, de 0 a 100 por ciento. QGIS la dibuja en gris sobre el mapa, más densa donde la confianza es baja.

Polígonos: manchas de una clase en los mismos colores, con su superficie y su confianza media.

Superficies: píxeles, hectáreas y porcentaje de cada clase. El recuento de píxeles está sesgado por los errores del mapa, que «Evaluar un mapa» corrige.

Las capas de otras fechas del mismo lugar forman una serie, que se lee en una sola cuadrícula: la del SRC y el tamaño de píxel de la mayoría, sobre todas ellas. Un modelo de series las lee todas; uno de una sola fecha se ejecuta con cada una y se promedian sus probabilidades. Un píxel se cartografía donde al menos una fecha tiene datos.

Nada sale de este equipo, salvo que la propia capa sea un servicio.</translation>
    </message>
    <message>
        <source>Lower limit of the overall accuracy (95 % confidence)</source>
        <translation>Límite inferior de la exactitud global (confianza del 95 %)</translation>
    </message>
    <message>
        <source>Upper limit of the overall accuracy (95 % confidence)</source>
        <translation>Límite superior de la exactitud global (confianza del 95 %)</translation>
    </message>
    <message>
        <source>Checking the layer…</source>
        <translation>Comprobando la capa…</translation>
    </message>
    <message>
        <source>Hectares</source>
        <translation>Hectáreas</translation>
    </message>
    <message>
        <source>Total hectares</source>
        <translation>Hectáreas en total</translation>
    </message>
    <message>
        <source>HTML files (*.html)</source>
        <translation>Archivos HTML (*.html)</translation>
    </message>
    <message>
        <source>From a shell with QGIS</source>
        <translation>Desde una terminal, con QGIS</translation>
    </message>
    <message>
        <source>From a shell without QGIS</source>
        <translation>Desde una terminal, sin QGIS</translation>
    </message>
    <message>
        <source>In any CRS; all features or the selected ones.</source>
        <translation>En cualquier SRC; todos los objetos o solo los seleccionados.</translation>
    </message>
    <message>
        <source>Install</source>
        <translation>Instalar</translation>
    </message>
    <message>
        <source>The run failed; see the Log Messages panel of QGIS.</source>
        <translation>La ejecución ha fallado; vea el panel de mensajes del registro de QGIS.</translation>
    </message>
    <message>
        <source>Installed. Restart QGIS to use it.</source>
        <translation>Instalado. Reinicie QGIS para usarlo.</translation>
    </message>
    <message>
        <source>has no mask band '{name}' (its bands are {bands})</source>
        <translation>no tiene la banda de máscara «{name}» (sus bandas son {bands})</translation>
    </message>
    <message>
        <source>is of {date}, as is {other}, and both show the same area: leave one of them out</source>
        <translation>es del {date}, igual que {other}, y ambas muestran la misma zona: quite una de ellas</translation>
    </message>
    <message>
        <source>it holds functions, on which no model is built: export it without them</source>
        <translation>contiene funciones, sobre las que no se construye ningún modelo: expórtelo sin ellas</translation>
    </message>
    <message>
        <source>it is larger than the limit of 2 GB</source>
        <translation>supera el límite de 2 GB</translation>
    </message>
    <message>
        <source>Name of the output, if the model has several.</source>
        <translation>Nombre de la salida, si el modelo tiene varias.</translation>
    </message>
    <message>
        <source>Land cover</source>
        <translation>Cobertura del suelo</translation>
    </message>
    <message>
        <source>it uses operators of ai.onnx.ml {opset}, which has none of the trees that are added: export it with version 3</source>
        <translation>usa operadores de ai.onnx.ml {opset}, que no tiene los árboles que se añaden: expórtelo con la versión 3</translation>
    </message>
    <message>
        <source>its card leaves out {border} px at each edge, which does not fit its output of {rows} rows for a tile of {tile}</source>
        <translation>su ficha descarta {border} px en cada borde, lo que no encaja con su salida de {rows} filas para una tesela de {tile}</translation>
    </message>
    <message>
        <source>its mask band {name} holds {value:g}, which is beyond {low:g} to {high:g}: it is no such band</source>
        <translation>su banda de máscara {name} contiene {value:g}, fuera de {low:g} a {high:g}: no es una banda de ese tipo</translation>
    </message>
    <message>
        <source>its mask band {name} holds {value:g}: classes and bits are whole numbers, so it was interpolated</source>
        <translation>su banda de máscara {name} contiene {value:g}: las clases y los bits son números enteros, así que fue interpolada</translation>
    </message>
    <message>
        <source>its name holds more than one date of the form {form}</source>
        <translation>su nombre contiene más de una fecha con la forma {form}</translation>
    </message>
    <message>
        <source>its name holds more than one date</source>
        <translation>su nombre contiene más de una fecha</translation>
    </message>
    <message>
        <source>its name holds no date of the form {form}</source>
        <translation>su nombre no contiene ninguna fecha con la forma {form}</translation>
    </message>
    <message>
        <source>its name holds no date; {years} may be a year or another number</source>
        <translation>su nombre no contiene ninguna fecha; {years} puede ser un año u otro número</translation>
    </message>
    <message>
        <source>its name holds no date</source>
        <translation>su nombre no contiene ninguna fecha</translation>
    </message>
    <message>
        <source>its name says {date}, but {how} says {other}: the date of its name is taken</source>
        <translation>su nombre dice {date}, pero {how} dice {other}: se toma la fecha del nombre</translation>
    </message>
    <message>
        <source>its operators are those of opset {opset}, and a model is built on {least} or later: export it again with a newer one</source>
        <translation>sus operadores son los del opset {opset}, y un modelo se construye sobre {least} o posterior: expórtelo de nuevo con uno más reciente</translation>
    </message>
    <message>
        <source>its tiles overlap by {overlap} px, of which {border} px at each edge are left out: no other overlap fits</source>
        <translation>sus teselas se solapan {overlap} px, de los que se descartan {border} px en cada borde: no cabe otro solapamiento</translation>
    </message>
    <message>
        <source>land cover</source>
        <translation>cobertura del suelo</translation>
    </message>
    <message>
        <source>Layer</source>
        <translation>Capa</translation>
    </message>
    <message>
        <source>Layer and model fit.</source>
        <translation>La capa y el modelo encajan.</translation>
    </message>
    <message>
        <source>Licence</source>
        <translation>Licencia</translation>
    </message>
    <message>
        <source>Minimum score</source>
        <translation>Puntuación mínima</translation>
    </message>
    <message>
        <source>First three principal components of the features as red, green and blue.</source>
        <translation>Los tres primeros componentes principales de las características, como rojo, verde y azul.</translation>
    </message>
    <message>
        <source>Map of classes</source>
        <translation>Mapa de clases</translation>
    </message>
    <message>
        <source>Map view</source>
        <translation>Vista del mapa</translation>
    </message>
    <message>
        <source>Map with GeoAware…</source>
        <translation>Cartografiar con GeoAware…</translation>
    </message>
    <message>
        <source>Match by name</source>
        <translation>Asignar por nombre</translation>
    </message>
    <message>
        <source>Model</source>
        <translation>Modelo</translation>
    </message>
    <message>
        <source>Model and layer</source>
        <translation>Modelo y capa</translation>
    </message>
    <message>
        <source>Model: {name}, run by {provider}</source>
        <translation>Modelo: {name}, ejecutado por {provider}</translation>
    </message>
    <message>
        <source>For models with independent classes: lowest probability at which a class counts; empty: the value in the model card.</source>
        <translation>Para modelos de clases independientes: probabilidad mínima para que cuente una clase; vacío: la de la ficha del modelo.</translation>
    </message>
    <message>
        <source>Models…</source>
        <translation>Modelos…</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>Nombre</translation>
    </message>
    <message>
        <source>Names of the classes</source>
        <translation>Nombres de las clases</translation>
    </message>
    <message>
        <source>lies apart from {other}, whose mask it is to be</source>
        <translation>está lejos de {other}, cuya máscara debe ser</translation>
    </message>
    <message>
        <source>cannot be read ({reason}): name a CSV with the columns file and date, or write dates like 2024-06-30</source>
        <translation>no se puede leer ({reason}): indique un CSV con las columnas file y date, o escriba fechas como 2024-06-30</translation>
    </message>
    <message>
        <source>needs the columns file and date, with dates like 2024-06-30 ({reason})</source>
        <translation>necesita las columnas file y date, con fechas como 2024-06-30 ({reason})</translation>
    </message>
    <message>
        <source>no connection</source>
        <translation>sin conexión</translation>
    </message>
    <message>
        <source>no data came</source>
        <translation>no llegaron datos</translation>
    </message>
    <message>
        <source>This run cannot be repeated from a shell: one of its layers exists only in memory. Save the layer to a file first.</source>
        <translation>Esta ejecución no se puede repetir desde una terminal: una de sus capas existe solo en memoria. Guarde antes la capa en un archivo.</translation>
    </message>
    <message>
        <source>This run cannot be repeated from a shell: it used only the selected polygons. Save them to a file first.</source>
        <translation>Esta ejecución no se puede repetir desde una terminal: usó solo los polígonos seleccionados. Guárdelos antes en un archivo.</translation>
    </message>
    <message>
        <source>No-data value</source>
        <translation>Valor sin datos</translation>
    </message>
    <message>
        <source>no raster is given</source>
        <translation>no se da ningún ráster</translation>
    </message>
    <message>
        <source>none</source>
        <translation>ninguna</translation>
    </message>
    <message>
        <source>not stated</source>
        <translation>no se indica</translation>
    </message>
    <message>
        <source>Number of objects</source>
        <translation>Número de objetos</translation>
    </message>
    <message>
        <source>Class values or class names of the map.</source>
        <translation>Valores o nombres de las clases del mapa.</translation>
    </message>
    <message>
        <source>Objects</source>
        <translation>Objetos</translation>
    </message>
    <message>
        <source>nothing yet</source>
        <translation>nada todavía</translation>
    </message>
    <message>
        <source>objects</source>
        <translation>objetos</translation>
    </message>
    <message>
        <source>Offset</source>
        <translation>Desplazamiento</translation>
    </message>
    <message>
        <source>CPU threads; empty: as many as cores and memory allow.</source>
        <translation>Hilos de CPU; vacío: tantos como permitan los núcleos y la memoria.</translation>
    </message>
    <message>
        <source>Only inside these polygons</source>
        <translation>Solo dentro de estos polígonos</translation>
    </message>
    <message>
        <source>Only this part of the layer, in any CRS.</source>
        <translation>Solo esta parte de la capa, en cualquier SRC.</translation>
    </message>
    <message>
        <source>Only this part of the map, in any CRS.</source>
        <translation>Solo esta parte del mapa, en cualquier SRC.</translation>
    </message>
    <message>
        <source>ONNX models (*.onnx)</source>
        <translation>Modelos ONNX (*.onnx)</translation>
    </message>
    <message>
        <source>of the CRS and pixel size of most rasters, over all of them</source>
        <translation>con el SRC y el tamaño de píxel de la mayoría de los ráster, sobre todos ellos</translation>
    </message>
    <message>
        <source>onnxruntime is the open-source library that runs ONNX models. QGIS does not include it.</source>
        <translation>onnxruntime es la biblioteca de código abierto que ejecuta modelos ONNX. QGIS no la incluye.</translation>
    </message>
    <message>
        <source>onnxruntime {version} is too old: it has known vulnerabilities with untrusted models. {minimum} or newer is needed.</source>
        <translation>onnxruntime {version} es demasiado antiguo: tiene vulnerabilidades conocidas con modelos no fiables. Se necesita {minimum} o posterior.</translation>
    </message>
    <message>
        <source>onnxruntime {minimum} needs Python 3.11 or newer, this QGIS runs Python {version}: use a newer QGIS.</source>
        <translation>onnxruntime {minimum} necesita Python 3.11 o posterior y este QGIS usa Python {version}: use un QGIS más reciente.</translation>
    </message>
    <message>
        <source>Open folder</source>
        <translation>Abrir la carpeta</translation>
    </message>
    <message>
        <source>Options</source>
        <translation>Opciones</translation>
    </message>
    <message>
        <source>Or install it by hand: {advice}</source>
        <translation>O instálelo a mano: {advice}</translation>
    </message>
    <message>
        <source>Model output</source>
        <translation>Salida del modelo</translation>
    </message>
    <message>
        <source>Overall accuracy, 0 to 1</source>
        <translation>Exactitud global, de 0 a 1</translation>
    </message>
    <message>
        <source>Tile overlap</source>
        <translation>Solape de las teselas</translation>
    </message>
    <message>
        <source>Page</source>
        <translation>Página</translation>
    </message>
    <message>
        <source>Picture</source>
        <translation>Imagen</translation>
    </message>
    <message>
        <source>picture of the features</source>
        <translation>imagen de las características</translation>
    </message>
    <message>
        <source>pip failed: see its output.</source>
        <translation>pip ha fallado: vea su salida.</translation>
    </message>
    <message>
        <source>QGIS's Python has no pip. On Debian and Ubuntu, run 'sudo apt install python3-pip' in a terminal, then click Install again.</source>
        <translation>El Python de QGIS no tiene pip. En Debian y Ubuntu, ejecute «sudo apt install python3-pip» en una terminal y vuelva a pulsar Instalar.</translation>
    </message>
    <message>
        <source>Pixel size</source>
        <translation>Tamaño de píxel</translation>
    </message>
    <message>
        <source>Pixel size in metres</source>
        <translation>Tamaño de píxel en metros</translation>
    </message>
    <message>
        <source>Otherwise pixels of another size are passed to the model as they are.</source>
        <translation>Si no, los píxeles de otro tamaño se pasan al modelo tal cual.</translation>
    </message>
    <message>
        <source>Output grid</source>
        <translation>Cuadrícula de salida</translation>
    </message>
    <message>
        <source>Pixels that neighbouring tiles share; empty: the value in the model card.</source>
        <translation>Píxeles que comparten las teselas vecinas; vacío: el valor de la ficha del modelo.</translation>
    </message>
    <message>
        <source>Distance from one window to the next, in pixels of the model; empty: the size of the window.</source>
        <translation>Distancia de una ventana a la siguiente, en píxeles del modelo; vacío: el tamaño de la ventana.</translation>
    </message>
    <message>
        <source>Polygons</source>
        <translation>Polígonos</translation>
    </message>
    <message>
        <source>polygons</source>
        <translation>polígonos</translation>
    </message>
    <message>
        <source>Polygons of</source>
        <translation>Polígonos de</translation>
    </message>
    <message>
        <source>Probabilities</source>
        <translation>Probabilidades</translation>
    </message>
    <message>
        <source>probabilities</source>
        <translation>probabilidades</translation>
    </message>
    <message>
        <source>Probability of the class, per cent.</source>
        <translation>Probabilidad de la clase, en por ciento.</translation>
    </message>
    <message>
        <source>Progress</source>
        <translation>Progreso</translation>
    </message>
    <message>
        <source>The Python of QGIS was not found; run the command below in a terminal.</source>
        <translation>No se ha encontrado el Python de QGIS; ejecute la línea de abajo en una terminal.</translation>
    </message>
    <message>
        <source>Raster layer</source>
        <translation>Capa ráster</translation>
    </message>
    <message>
        <source>Read class</source>
        <translation>Leer la clase</translation>
    </message>
    <message>
        <source>Reference points or polygons</source>
        <translation>Puntos o polígonos de referencia</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>Quitar</translation>
    </message>
    <message>
        <source>Remove '{name}' from the library and delete its file?</source>
        <translation>¿Quitar «{name}» de la biblioteca y borrar su archivo?</translation>
    </message>
    <message>
        <source>Report</source>
        <translation>Informe</translation>
    </message>
    <message>
        <source>Result page</source>
        <translation>Página del resultado</translation>
    </message>
    <message>
        <source>Results</source>
        <translation>Resultados</translation>
    </message>
    <message>
        <source>Run</source>
        <translation>Ejecutar</translation>
    </message>
    <message>
        <source>Execution provider</source>
        <translation>Proveedor de ejecución</translation>
    </message>
    <message>
        <source>Run this command in {where} and try again. It changes nothing outside the folder that it names.</source>
        <translation>Ejecute esta orden en {where} e inténtelo de nuevo. No cambia nada fuera de la carpeta que nombra.</translation>
    </message>
    <message>
        <source>running</source>
        <translation>en marcha</translation>
    </message>
    <message>
        <source>running, {time} left</source>
        <translation>en marcha, quedan {time}</translation>
    </message>
    <message>
        <source>Runs</source>
        <translation>Ejecuciones</translation>
    </message>
    <message>
        <source>Save page</source>
        <translation>Guardar la página</translation>
    </message>
    <message>
        <source>Save page…</source>
        <translation>Guardar la página…</translation>
    </message>
    <message>
        <source>Scenes</source>
        <translation>Escenas</translation>
    </message>
    <message>
        <source>scenes</source>
        <translation>escenas</translation>
    </message>
    <message>
        <source>Segment raster layer</source>
        <translation>Segmentar capa ráster</translation>
    </message>
    <message>
        <source>Selected only</source>
        <translation>Solo los seleccionados</translation>
    </message>
    <message>
        <source>Settings</source>
        <translation>Ajustes</translation>
    </message>
    <message>
        <source>SHA-256</source>
        <translation>SHA-256</translation>
    </message>
    <message>
        <source>Slides a window over a raster layer and gives each position the class of the scene around it, such as residential or forest. The window has the tile size of the model.

Scenes: a coarse Cloud-Optimized GeoTIFF with class names and colours. Its pixels are as wide as the stride; half the stride gives a finer map and takes four times as long.

Confidence: probability of the class, 0 to 100 per cent.

Areas: pixels, hectares and per cent of each class.</source>
        <translation>Desliza una ventana sobre una capa ráster y da a cada posición la clase de la escena que la rodea, como residencial o bosque. La ventana tiene el tamaño de tesela del modelo.

Escenas: un GeoTIFF optimizado para la nube, de resolución gruesa, con nombres y colores de las clases. Sus píxeles son tan anchos como el paso; la mitad del paso da un mapa más fino y tarda cuatro veces más.

Confianza: probabilidad de la clase, de 0 a 100 por ciento.

Superficies: píxeles, hectáreas y porcentaje de cada clase.</translation>
    </message>
    <message>
        <source>Smaller polygons are merged into their largest neighbour.</source>
        <translation>Los polígonos menores se unen a su vecino más grande.</translation>
    </message>
    <message>
        <source>Minimum polygon area, square metres</source>
        <translation>Superficie mínima de un polígono, metros cuadrados</translation>
    </message>
    <message>
        <source>State</source>
        <translation>Estado</translation>
    </message>
    <message>
        <source>status {number}</source>
        <translation>estado {number}</translation>
    </message>
    <message>
        <source>Stride</source>
        <translation>Paso de la ventana</translation>
    </message>
    <message>
        <source>Table with pixels, hectares and per cent of each class.</source>
        <translation>Tabla con píxeles, hectáreas y porcentaje de cada clase.</translation>
    </message>
    <message>
        <source>Task</source>
        <translation>Tarea</translation>
    </message>
    <message>
        <source>Counts the pixels of each class of a map and gives pixels, hectares and per cent. In a geographic CRS areas are measured on the ellipsoid, in a projected CRS in its plane.

Pixel counting is biased by the errors of the map: 'Assess a map' corrects the areas with a reference sample.</source>
        <translation>Cuenta los píxeles de cada clase de un mapa y da píxeles, hectáreas y porcentaje. En un SRC geográfico las superficies se miden en el elipsoide; en uno proyectado, en su plano.

El recuento de píxeles está sesgado por los errores del mapa: «Evaluar un mapa» corrige las superficies con una muestra de referencia.</translation>
    </message>
    <message>
        <source>The extent is empty, or cannot be transformed to the CRS of the layer.</source>
        <translation>La extensión está vacía o no se puede transformar al SRC de la capa.</translation>
    </message>
    <message>
        <source>The layer '{name}' comes from a service: choose an extent or polygons.</source>
        <translation>La capa «{name}» procede de un servicio: elija una extensión o unos polígonos.</translation>
    </message>
    <message>
        <source>The layer '{name}' has no CRS: set it with Layer &gt; Set CRS of Layer.</source>
        <translation>La capa «{name}» no tiene SRC: asígnelo con Capa &gt; Establecer SRC de la capa.</translation>
    </message>
    <message>
        <source>The layer '{name}' has no pixels of its own and the model does not say which size it needs.</source>
        <translation>La capa «{name}» no tiene píxeles propios y el modelo no dice qué tamaño necesita.</translation>
    </message>
    <message>
        <source>The layer '{name}' holds no whole or real numbers.</source>
        <translation>La capa «{name}» no contiene números enteros ni reales.</translation>
    </message>
    <message>
        <source>The layer cannot be read ({error}).</source>
        <translation>No se puede leer la capa ({error}).</translation>
    </message>
    <message>
        <source>The library has another model named {name}: remove it first, or rename the file.</source>
        <translation>La biblioteca tiene otro modelo llamado {name}: quite primero ese o cambie el nombre de este archivo.</translation>
    </message>
    <message>
        <source>The library is empty: click 'Models…' to add a model.</source>
        <translation>La biblioteca está vacía: pulse «Modelos…» para añadir un modelo.</translation>
    </message>
    <message>
        <source>The model '{name}' is a {task} model; a {wanted} model is needed.</source>
        <translation>El modelo «{name}» es de tipo {task}; se necesita uno de tipo {wanted}.</translation>
    </message>
    <message>
        <source>The model cannot be copied ({error}).</source>
        <translation>No se puede copiar el modelo ({error}).</translation>
    </message>
    <message>
        <source>The model cannot be read ({error}).</source>
        <translation>No se puede leer el modelo ({error}).</translation>
    </message>
    <message>
        <source>The model cannot be removed ({error}).</source>
        <translation>No se puede quitar el modelo ({error}).</translation>
    </message>
    <message>
        <source>The model could not be downloaded ({reason}).</source>
        <translation>No se ha podido descargar el modelo ({reason}).</translation>
    </message>
    <message>
        <source>the OSGeo4W Shell (in the start menu beside QGIS)</source>
        <translation>la OSGeo4W Shell (en el menú de inicio, junto a QGIS)</translation>
    </message>
    <message>
        <source>Nothing was mapped: the area contains no data.</source>
        <translation>No se clasificó nada: la zona no contiene datos.</translation>
    </message>
    <message>
        <source>The page cannot be saved ({error}).</source>
        <translation>La página no se puede guardar ({error}).</translation>
    </message>
    <message>
        <source>The Python package onnxruntime is not installed.</source>
        <translation>El paquete de Python onnxruntime no está instalado.</translation>
    </message>
    <message>
        <source>The Python package onnxruntime is installed but cannot be imported ({error}).</source>
        <translation>El paquete de Python onnxruntime está instalado, pero no se puede importar ({error}).</translation>
    </message>
    <message>
        <source>The raster layer cannot be read.</source>
        <translation>No se puede leer la capa ráster.</translation>
    </message>
    <message>
        <source>The reference layer cannot be read.</source>
        <translation>No se puede leer la capa de referencia.</translation>
    </message>
    <message>
        <source>The result cannot be written ({error})</source>
        <translation>No se puede escribir el resultado ({error})</translation>
    </message>
    <message>
        <source>The same as an HTML page.</source>
        <translation>Lo mismo, como página HTML.</translation>
    </message>
    <message>
        <source>The service of the layer '{name}' did not answer ({reason}); try again later.</source>
        <translation>El servicio de la capa «{name}» no ha respondido ({reason}); inténtelo más tarde.</translation>
    </message>
    <message>
        <source>The table cannot be written.</source>
        <translation>No se puede escribir la tabla.</translation>
    </message>
    <message>
        <source>There is no GeoAware map here.</source>
        <translation>Aquí no hay ningún mapa de GeoAware.</translation>
    </message>
    <message>
        <source>The library is empty. Add an ONNX file made with GeoAware or for Deepness.</source>
        <translation>La biblioteca está vacía. Añada un archivo ONNX hecho con GeoAware o para Deepness.</translation>
    </message>
    <message>
        <source>onnxruntime {minimum} is not available for Macs with an Intel processor.</source>
        <translation>onnxruntime {minimum} no está disponible para Macs con procesador Intel.</translation>
    </message>
    <message>
        <source>The project has no raster layer.</source>
        <translation>No hay ninguna capa ráster en el proyecto.</translation>
    </message>
    <message>
        <source>Out of memory: choose a smaller extent.</source>
        <translation>No hay memoria suficiente: elija una extensión menor.</translation>
    </message>
    <message>
        <source>There may not be enough disk space.</source>
        <translation>Puede que no quepa en el disco.</translation>
    </message>
    <message>
        <source>QGIS has already loaded the unusable onnxruntime: restart QGIS after the installation.</source>
        <translation>QGIS ya ha cargado el onnxruntime inutilizable: reinicie QGIS tras la instalación.</translation>
    </message>
    <message>
        <source>source: the pixels of the layer; model: the pixel size of the model.</source>
        <translation>source: los píxeles de la capa; model: el tamaño de píxel del modelo.</translation>
    </message>
    <message>
        <source>Threads</source>
        <translation>Hilos</translation>
    </message>
    <message>
        <source>Threshold</source>
        <translation>Umbral</translation>
    </message>
    <message>
        <source>Tile</source>
        <translation>Tesela</translation>
    </message>
    <message>
        <source>Time</source>
        <translation>Tiempo</translation>
    </message>
    <message>
        <source>the card {card} beside it would count instead of its own; remove that file, or choose another name</source>
        <translation>la ficha {card} que está junto a él valdría en lugar de la suya; quite ese archivo o elija otro nombre</translation>
    </message>
    <message>
        <source>the table of dates gives it more than one ({dates}): keep one row of it</source>
        <translation>la tabla de fechas le da más de una ({dates}): deje una sola de sus filas</translation>
    </message>
    <message>
        <source>time is known after the first batch</source>
        <translation>el tiempo se sabrá tras el primer lote</translation>
    </message>
    <message>
        <source>Repeat this run</source>
        <translation>Repetir esta ejecución</translation>
    </message>
    <message>
        <source>Trained on</source>
        <translation>Entrenado con</translation>
    </message>
    <message>
        <source>up to {needed} on disk, {free} free</source>
        <translation>hasta {needed} en el disco, {free} libres</translation>
    </message>
    <message>
        <source>Values</source>
        <translation>Valores</translation>
    </message>
    <message>
        <source>waiting</source>
        <translation>en espera</translation>
    </message>
    <message>
        <source>The log of the selected run appears here. Runs continue in the background while you work in QGIS.</source>
        <translation>Aquí aparece el registro de la ejecución elegida. Las ejecuciones continúan en segundo plano mientras trabaja en QGIS.</translation>
    </message>
    <message>
        <source>pip output appears here.</source>
        <translation>Aquí aparece la salida de pip.</translation>
    </message>
    <message>
        <source>What runs models on this computer, and how fast it runs this one</source>
        <translation>Qué ejecuta modelos en este ordenador y a qué velocidad ejecuta este</translation>
    </message>
    <message>
        <source>What the pixel values are: the unit of the model (raw), Sentinel-2 L2A or L1C as delivered, or the Sentinel-2 true-colour image. Sentinel-2 values are converted to the unit of the model. auto is raw, except for 16-bit values in pixels of 10, 20 or 60 m that are too large for a model of 8-bit colours: these are read as Sentinel-2 L2A.</source>
        <translation>Qué son los valores de los píxeles: la unidad del modelo (raw), Sentinel-2 L2A o L1C tal como se distribuyen, o la imagen de Sentinel-2 en color natural. Los valores de Sentinel-2 se convierten a la unidad del modelo. auto es raw, salvo para valores de 16 bits en píxeles de 10, 20 o 60 m demasiado grandes para un modelo de colores de 8 bits: se leen como Sentinel-2 L2A.</translation>
    </message>
    <message>
        <source>Whole layer</source>
        <translation>Toda la capa</translation>
    </message>
    <message>
        <source>Install offline from a folder of wheels…</source>
        <translation>Instalar sin red desde una carpeta de wheels…</translation>
    </message>
    <message>
        <source>The profile folder is not writable ({error}).</source>
        <translation>No se puede escribir en su perfil ({error}).</translation>
    </message>
    <message>
        <source>warped to the grid</source>
        <translation>reproyectada a la cuadrícula</translation>
    </message>
    <message>
        <source>{count} labels of '{name}' lie outside the raster layer and were left out.</source>
        <translation>{count} etiquetas de «{name}» están fuera de la capa ráster y se han omitido.</translation>
    </message>
    <message>
        <source>{count} objects</source>
        <translation>{count} objetos</translation>
    </message>
    <message>
        <source>{count} tiles</source>
        <translation>{count} teselas</translation>
    </message>
    <message>
        <source>{package}: {device} is not tried, a CPU only</source>
        <translation>{package}: {device} no se prueba, solo es una CPU</translation>
    </message>
    <message>
        <source>{map} compared with {sample}</source>
        <translation>{map} comparado con {sample}</translation>
    </message>
    <message>
        <source>{name} (comes with the plugin)</source>
        <translation>{name} (viene con el complemento)</translation>
    </message>
    <message>
        <source>{name} ({confidence} %)</source>
        <translation>{name} ({confidence} %)</translation>
    </message>
    <message>
        <source>{name}: another program has changed the labels.</source>
        <translation>{name}: otro programa ha modificado las etiquetas.</translation>
    </message>
    <message>
        <source>{name}: labels</source>
        <translation>{name}: etiquetas</translation>
    </message>
    <message>
        <source>{name}: larger than the limit of 2 GB.</source>
        <translation>{name}: supera el límite de 2 GB.</translation>
    </message>
    <message>
        <source>{name}: choose a file name that ends in {suffix}</source>
        <translation>{name}: elija un nombre de archivo que termine en {suffix}</translation>
    </message>
    <message>
        <source>{name}: not a file of labels that this panel made.</source>
        <translation>{name}: no es un archivo de etiquetas hecho por este panel.</translation>
    </message>
    <message>
        <source>{name}: the checksum is {checksum}, not the expected one: the file is corrupt or another one.</source>
        <translation>{name}: la suma de verificación es {checksum}, no la esperada: el archivo está dañado o es otro.</translation>
    </message>
    <message>
        <source>{name}: needs {size}, more than is free on the disk of the profile folder.</source>
        <translation>{name}: necesita {size}, más de lo que queda libre en el disco de su perfil.</translation>
    </message>
    <message>
        <source>{name}: the file with the labels is gone.</source>
        <translation>{name}: falta el archivo con las etiquetas.</translation>
    </message>
    <message>
        <source>{name}: there is no such file.</source>
        <translation>{name}: no existe ese archivo.</translation>
    </message>
    <message>
        <source>{name}: {hectares} ha, {share} %</source>
        <translation>{name}: {hectares} ha, {share} %</translation>
    </message>
    <message>
        <source>{problem} They were read again: repeat the last step.</source>
        <translation>{problem} Se han leído de nuevo: repita el último paso.</translation>
    </message>
    <message>
        <source>{received} of {total}</source>
        <translation>{received} de {total}</translation>
    </message>
    <message>
        <source>{share:.0%} of the grid without data or hidden</source>
        <translation>{share:.0%} de la cuadrícula sin datos u oculto</translation>
    </message>
    <message>
        <source>{side} x {side} px</source>
        <translation>{side} x {side} px</translation>
    </message>
    <message>
        <source>{size} used</source>
        <translation>{size} en uso</translation>
    </message>
    <message>
        <source>{title} is ready.</source>
        <translation>{title}: listo.</translation>
    </message>
    <message>
        <source>{title} is ready, but its project was closed: the results were not loaded.</source>
        <translation>{title} está listo, pero se cerró su proyecto: no se cargaron los resultados.</translation>
    </message>
    <message>
        <source>{title}: cancelled.</source>
        <translation>{title}: cancelado.</translation>
    </message>
    <message>
        <source>A model of the library, or another ONNX file with a card: inside it, as NAME.card.json beside it, or as Deepness writes it.</source>
        <translation>Un modelo de la biblioteca u otro archivo ONNX con ficha: dentro de él, en NOMBRE.card.json a su lado o como la escribe Deepness.</translation>
    </message>
    <message>
        <source>Another model file</source>
        <translation>Otro archivo de modelo</translation>
    </message>
    <message>
        <source>; see '{parameter}'</source>
        <translation>; vea «{parameter}»</translation>
    </message>
    <message>
        <source>; set '{parameter}' to raw</source>
        <translation>; ponga «{parameter}» en raw</translation>
    </message>
    <message>
        <source>; if that is empty, set '{parameter}' to {value:g}</source>
        <translation>; si eso está vacío, ponga «{parameter}» en {value:g}</translation>
    </message>
    <message>
        <source>; if they are not, see '{parameter}'</source>
        <translation>; si no lo son, vea «{parameter}»</translation>
    </message>
    <message>
        <source>; if it is not, see '{parameter}'</source>
        <translation>; si no lo es, vea «{parameter}»</translation>
    </message>
    <message>
        <source>; '{parameter}' 0 for older scenes</source>
        <translation>; «{parameter}» 0 para escenas más antiguas</translation>
    </message>
    <message>
        <source>; name it in '{parameter}'</source>
        <translation>; indíquelo en «{parameter}»</translation>
    </message>
    <message>
        <source>The onnxruntime that is installed is for Python {other}, but this QGIS runs Python {own}: install it again.</source>
        <translation>El onnxruntime instalado es para Python {other}, pero este QGIS usa Python {own}: instálelo de nuevo.</translation>
    </message>
    <message>
        <source>cancelled</source>
        <translation>cancelado</translation>
    </message>
    <message>
        <source>{sentence}</source>
        <translation>{sentence}</translation>
    </message>
    <message>
        <source>no such file</source>
        <translation>no existe ese archivo</translation>
    </message>
    <message>
        <source>cannot be read ({reason})</source>
        <translation>no se puede leer ({reason})</translation>
    </message>
    <message>
        <source>cannot be written to ({reason})</source>
        <translation>no se puede escribir allí ({reason})</translation>
    </message>
    <message>
        <source>not an ONNX file, or a corrupt one ({reason})</source>
        <translation>no es un archivo ONNX, o está dañado ({reason})</translation>
    </message>
    <message>
        <source>{size} bytes cannot be an ONNX model (16 bytes to 2 GB)</source>
        <translation>{size} bytes no pueden ser un modelo ONNX (de 16 bytes a 2 GB)</translation>
    </message>
    <message>
        <source>refused, it needs operators of the domain '{domain}', which this runtime does not trust</source>
        <translation>rechazado: necesita operadores del dominio «{domain}», del que no se fía este programa</translation>
    </message>
    <message>
        <source>refused, its graphs are nested more than {limit} deep</source>
        <translation>rechazado: sus grafos están anidados a más de {limit} niveles</translation>
    </message>
    <message>
        <source>refused, it holds a precompiled EPContext node</source>
        <translation>rechazado: contiene un nodo EPContext precompilado</translation>
    </message>
    <message>
        <source>refused, its weights are in another file; bring them into one file</source>
        <translation>rechazado: sus pesos están en otro archivo; reúnalos en un solo archivo</translation>
    </message>
    <message>
        <source> outside QGIS, with GeoAware's 'python -m export.to_onnx --onefile {where}'</source>
        <translation> fuera de QGIS, con «python -m export.to_onnx --onefile {where}» de GeoAware</translation>
    </message>
    <message>
        <source>needs exactly one image input of 4 dimensions (batch, bands, rows, columns), found {inputs}</source>
        <translation>necesita exactamente una imagen de entrada de 4 dimensiones (lote, bandas, filas, columnas); tiene {inputs}</translation>
    </message>
    <message>
        <source>a model of many dates must take pixels (dates, bands, rows, columns), valid (dates, rows, columns) and day_of_year (dates), and may take longitude and latitude (rows, columns), with a free number of dates and rows = columns; found {inputs}</source>
        <translation>un modelo de varias fechas debe tener las entradas pixels (fechas, bandas, filas, columnas), valid (fechas, filas, columnas) y day_of_year (fechas), y puede tener longitude y latitude (filas, columnas), con un número libre de fechas y filas = columnas; tiene {inputs}</translation>
    </message>
    <message>
        <source>its inputs are {inputs}, which does not fit dates: {dates} and location: {location} of its card (0: a model of one date)</source>
        <translation>sus entradas son {inputs}, lo que no concuerda con dates: {dates} y location: {location} de su ficha (0: modelo de una sola fecha)</translation>
    </message>
    <message>
        <source>dates must be 0 to {limit}, and go with segmentation or classification only; a location goes with dates</source>
        <translation>dates debe estar entre 0 y {limit} y solo es posible con segmentation o classification; location requiere dates</translation>
    </message>
    <message>
        <source>the model '{name}' reads a series of dates, not a single raster</source>
        <translation>el modelo «{name}» lee una serie de fechas, no un solo ráster</translation>
    </message>
    <message>
        <source>the model '{name}' reads a single date, not a series</source>
        <translation>el modelo «{name}» lee una sola fecha, no una serie</translation>
    </message>
    <message>
        <source>the model '{name}' also needs the longitude and latitude of each pixel</source>
        <translation>el modelo «{name}» necesita además la longitud y la latitud de cada píxel</translation>
    </message>
    <message>
        <source>its input has an element type that no raster has</source>
        <translation>su entrada es de un tipo de número que no tiene ningún ráster</translation>
    </message>
    <message>
        <source>its input is {shape}, but its card says {expected}</source>
        <translation>su entrada es {shape}, pero su ficha dice {expected}</translation>
    </message>
    <message>
        <source>refused, it takes {count} tiles at once (limit {limit})</source>
        <translation>rechazado: toma {count} teselas a la vez (límite {limit})</translation>
    </message>
    <message>
        <source>has no output</source>
        <translation>no tiene ninguna salida</translation>
    </message>
    <message>
        <source>has no output '{output}'; it has {outputs}</source>
        <translation>no tiene la salida «{output}»; tiene {outputs}</translation>
    </message>
    <message>
        <source>its output is empty</source>
        <translation>su salida está vacía</translation>
    </message>
    <message>
        <source>its output has the shape {shape}, which does not fit a {task} model</source>
        <translation>su salida tiene la forma {shape}, que no corresponde a un modelo de {task}</translation>
    </message>
    <message>
        <source>its output has {rows} rows for a tile of {tile}: neither an integer fraction of it, nor the tile without a border</source>
        <translation>su salida tiene {rows} filas para una tesela de {tile}: ni una fracción entera de ella ni la tesela sin borde</translation>
    </message>
    <message>
        <source>it answers with {channels} channels, but its card names {classes} classes</source>
        <translation>da {channels} canales, pero su ficha nombra {classes} clases</translation>
    </message>
    <message>
        <source>refused, its output for one tile would take {size:size}</source>
        <translation>rechazado: su salida para una tesela ocuparía {size:size}</translation>
    </message>
    <message>
        <source>a detection model needs three outputs: boxes, scores, labels</source>
        <translation>un modelo de detección necesita tres salidas: cajas, puntuaciones y etiquetas</translation>
    </message>
    <message>
        <source>the model '{name}' answers with something else than boxes, scores and labels</source>
        <translation>el modelo «{name}» da algo distinto de cajas, puntuaciones y etiquetas</translation>
    </message>
    <message>
        <source>the model '{name}' answers with a class that its card does not name</source>
        <translation>el modelo «{name}» da una clase que su ficha no nombra</translation>
    </message>
    <message>
        <source>is a detection model, which answers for one tile at a time</source>
        <translation>es un modelo de detección, que responde para una sola tesela a la vez</translation>
    </message>
    <message>
        <source>answers with the shape {shape}, before with {before}</source>
        <translation>su salida tiene la forma {shape}, antes {before}</translation>
    </message>
    <message>
        <source>answers with something else than numbers</source>
        <translation>su salida no son números</translation>
    </message>
    <message>
        <source>answers with the class {value}, which its card does not name</source>
        <translation>da la clase {value}, que su ficha no nombra</translation>
    </message>
    <message>
        <source>does not run on tiles of {side} px, the tile_size of its card ({reason})</source>
        <translation>no funciona con teselas de {side} px, el tile_size de su ficha ({reason})</translation>
    </message>
    <message>
        <source>runs on tiles of none of the usual sizes ({reason}); state its tile_size in its card</source>
        <translation>no funciona con teselas de ninguno de los tamaños habituales ({reason}); indique tile_size en su ficha</translation>
    </message>
    <message>
        <source>stopped, it loops for more than {seconds:g} s over one tile</source>
        <translation>detenido: está en un bucle de más de {seconds:g} s con una tesela</translation>
    </message>
    <message>
        <source>needs more memory for {count} x {side} px than is free ({free:size})</source>
        <translation>necesita para {count} x {side} px más memoria de la que hay libre ({free:size})</translation>
    </message>
    <message>
        <source>needs more memory than is free ({free:size})</source>
        <translation>necesita más memoria de la que hay libre ({free:size})</translation>
    </message>
    <message>
        <source>onnxruntime {version} is unsafe with files from others; install {needed} or newer</source>
        <translation>onnxruntime {version} no es seguro con archivos ajenos; instale {needed} o posterior</translation>
    </message>
    <message>
        <source>onnxruntime failed: {reason}</source>
        <translation>onnxruntime ha fallado: {reason}</translation>
    </message>
    <message>
        <source>onnxruntime cannot open it on {provider}: {reason}</source>
        <translation>onnxruntime no puede abrirlo en {provider}: {reason}</translation>
    </message>
    <message>
        <source>this onnxruntime has no {provider}; it has {available}</source>
        <translation>este onnxruntime no tiene {provider}; tiene {available}</translation>
    </message>
    <message>
        <source>OpenVINO is not there; install the package openvino</source>
        <translation>OpenVINO no está; instale el paquete openvino</translation>
    </message>
    <message>
        <source>OpenVINO does not start: {reason}</source>
        <translation>OpenVINO no arranca: {reason}</translation>
    </message>
    <message>
        <source>OpenVINO failed: {reason}</source>
        <translation>OpenVINO falló: {reason}</translation>
    </message>
    <message>
        <source>{runner} runs it: {ratio:.1f} x onnxruntime on the CPU, {found}</source>
        <translation>lo ejecuta {runner}: {ratio:.1f} veces onnxruntime en la CPU, {found}</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: nothing else was faster on sample tiles and gave the same answers</source>
        <translation>lo ejecuta onnxruntime en la CPU: nada fue más rápido en teselas de muestra con las mismas respuestas</translation>
    </message>
    <message>
        <source>{runner} is not used: {found}</source>
        <translation>no se usa {runner}: {found}</translation>
    </message>
    <message>
        <source>{runner} is not used: {reason}</source>
        <translation>no se usa {runner}: {reason}</translation>
    </message>
    <message>
        <source>{equal:.2%} of the pixels equal on {count} sample tiles, 99% of the confidences up to {apart:.2%} apart</source>
        <translation>{equal:.2%} de los píxeles iguales en {count} teselas de muestra, el 99 % de las confianzas con hasta {apart:.2%} de diferencia</translation>
    </message>
    <message>
        <source>{equal:.2%} of the boxes found by both on {count} sample tiles, 99% of the scores up to {apart:.2%} apart</source>
        <translation>{equal:.2%} de las cajas halladas por ambos en {count} teselas de muestra, el 99 % de las puntuaciones con hasta {apart:.2%} de diferencia</translation>
    </message>
    <message>
        <source>99% of the values differ by up to {apart:.2%} of their spread on {count} sample tiles</source>
        <translation>el 99 % de los valores difiere en hasta un {apart:.2%} de su dispersión en {count} teselas de muestra</translation>
    </message>
    <message>
        <source>99% of the feature vectors have a cosine similarity of {cosine:.5f} or more on {count} sample tiles</source>
        <translation>el 99 % de los vectores de características tiene una similitud del coseno de {cosine:.5f} o más en {count} teselas de muestra</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: on the two dates the trials gave different answers</source>
        <translation>lo ejecuta onnxruntime en la CPU: en las dos fechas las pruebas dieron respuestas distintas</translation>
    </message>
    <message>
        <source>{runner} runs it, as it ran the blocks that are there</source>
        <translation>lo ejecuta {runner}, como los bloques que ya existen</translation>
    </message>
    <message>
        <source>{runner}, which ran the blocks that are there, is not on this computer now: the others may differ slightly</source>
        <translation>{runner}, que ejecutó los bloques que ya existen, no está ahora en este ordenador: los demás pueden diferir un poco</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: no other provider is installed (python -m export.devices lists what there is)</source>
        <translation>lo ejecuta onnxruntime en la CPU: no hay otro proveedor instalado (python -m export.devices muestra lo que hay)</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: {count} boxes on {tiles} sample tiles are too few to compare others by, {least} are needed</source>
        <translation>lo ejecuta onnxruntime en la CPU: {count} cajas en {tiles} teselas de muestra son pocas para comparar otros, hacen falta {least}</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: others are not tried on services</source>
        <translation>lo ejecuta onnxruntime en la CPU: otros no se prueban con servicios</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: {count} tiles are too few to try others, from {least} on they are</source>
        <translation>lo ejecuta onnxruntime en la CPU: {count} teselas son pocas para probar otros; se prueban a partir de {least}</translation>
    </message>
    <message>
        <source>onnxruntime on the CPU runs it: {count} tiles with data were found to try others on, {needed} are needed</source>
        <translation>lo ejecuta onnxruntime en la CPU: se hallaron {count} teselas con datos para probar otros y hacen falta {needed}</translation>
    </message>
    <message>
        <source>has loops, which OpenVINO does not stop in time; run it on the CPU provider</source>
        <translation>tiene bucles, que OpenVINO no detiene a tiempo; ejecútelo con el proveedor cpu</translation>
    </message>
    <message>
        <source>{provider} did not start; onnxruntime fell back to {other}</source>
        <translation>{provider} no arrancó; onnxruntime recurrió a {other}</translation>
    </message>
    <message>
        <source>the precision '{precision}' is none of {known}</source>
        <translation>la precisión «{precision}» no es ninguna de {known}</translation>
    </message>
    <message>
        <source>{provider} calculates in fp32 only; '{precision}' runs on OpenVINO or TensorRT</source>
        <translation>{provider} solo calcula en fp32; «{precision}» funciona en OpenVINO o TensorRT</translation>
    </message>
    <message>
        <source>has no model card; describe it in a file {card} beside it (task, bands, value_range, classes)</source>
        <translation>no tiene ficha; descríbalo en un archivo {card} junto a él (task, bands, value_range, classes)</translation>
    </message>
    <message>
        <source>the model card is not valid ({reason})</source>
        <translation>la ficha del modelo no es válida ({reason})</translation>
    </message>
    <message>
        <source>it is nested too deeply</source>
        <translation>está anidada a demasiados niveles</translation>
    </message>
    <message>
        <source>not a JSON object</source>
        <translation>no es un objeto JSON</translation>
    </message>
    <message>
        <source>no classes</source>
        <translation>no hay clases</translation>
    </message>
    <message>
        <source>it must also give: {keys}</source>
        <translation>también debe dar: {keys}</translation>
    </message>
    <message>
        <source>'{key}' is unknown; known are {known}</source>
        <translation>«{key}» no se conoce; se conocen {known}</translation>
    </message>
    <message>
        <source>the task '{task}' is none of {known}</source>
        <translation>la tarea «{task}» no es ninguna de {known}</translation>
    </message>
    <message>
        <source>the activation '{activation}' is none of {known}</source>
        <translation>la activación «{activation}» no es ninguna de {known}</translation>
    </message>
    <message>
        <source>one fill value per band is needed</source>
        <translation>hace falta un valor fill por banda</translation>
    </message>
    <message>
        <source>value_range must be the lowest and the highest value, in this order, not {low:g} and {high:g}</source>
        <translation>value_range debe ser el valor más bajo y el más alto, en este orden, no {low:g} y {high:g}</translation>
    </message>
    <message>
        <source>one mean and one std per band are needed</source>
        <translation>hacen falta un valor mean y un valor std por banda</translation>
    </message>
    <message>
        <source>mean and std go together, and none of divisor and std may be 0</source>
        <translation>mean y std van juntos, y ni divisor ni std pueden ser 0</translation>
    </message>
    <message>
        <source>class values must differ and lie within 0 to 65534</source>
        <translation>los valores de las clases deben ser distintos y estar entre 0 y 65534</translation>
    </message>
    <message>
        <source>classes must be a list, or an object that maps class values to names</source>
        <translation>classes debe ser una lista, o un objeto que asigne nombres a valores de clase</translation>
    </message>
    <message>
        <source>'{color}' is not a colour like 1C6330</source>
        <translation>«{color}» no es un color como 1C6330</translation>
    </message>
    <message>
        <source>the overlap must be smaller than the tile</source>
        <translation>el solape debe ser menor que la tesela</translation>
    </message>
    <message>
        <source>the pixel size must be more than 0 and at most {limit:,} metres, not {gsd:g}</source>
        <translation>el tamaño de píxel debe ser mayor que 0 y de {limit:,} metros como máximo, no {gsd:g}</translation>
    </message>
    <message>
        <source>is a Deepness model of the type '{type}'; Segmentor, Regressor and Recognition run</source>
        <translation>es un modelo de Deepness del tipo «{type}»; funcionan Segmentor, Regressor y Recognition</translation>
    </message>
    <message>
        <source>does not give its number of bands; name them in {card}</source>
        <translation>no dice cuántas bandas tiene; nómbrelas en {card}</translation>
    </message>
    <message>
        <source>{text} cannot be read as names of classes</source>
        <translation>{text} no se puede leer como nombres de clases</translation>
    </message>
    <message>
        <source>the model '{name}' is a {task} model; a {needed} model is needed</source>
        <translation>el modelo «{name}» es de {task}; hace falta un modelo de {needed}</translation>
    </message>
    <message>
        <source>the model '{name}' is a {task} model, which answers once per tile</source>
        <translation>el modelo «{name}» es de {task} y responde una vez por tesela</translation>
    </message>
    <message>
        <source>the model '{name}' is a {task} model, which has no sliding window</source>
        <translation>el modelo «{name}» es de {task} y no tiene ventana deslizante</translation>
    </message>
    <message>
        <source>an overlap of {overlap} px does not fit tiles of {tile} px</source>
        <translation>un solape de {overlap} px no cabe en teselas de {tile} px</translation>
    </message>
    <message>
        <source>a stride of {stride} px does not fit windows of {tile} px: 1 to {tile}</source>
        <translation>un paso de {stride} px no corresponde a ventanas de {tile} px: de 1 a {tile}</translation>
    </message>
    <message>
        <source>a part of the raster must begin at a multiple of {unit} px</source>
        <translation>una parte del ráster debe empezar en un múltiplo de {unit} px</translation>
    </message>
    <message>
        <source>{count} bands are given, but the model needs {needed} ({bands})</source>
        <translation>se dan {count} bandas, pero el modelo necesita {needed} ({bands})</translation>
    </message>
    <message>
        <source>has no band '{band}'; it has {bands}</source>
        <translation>no tiene la banda «{band}»; tiene {bands}</translation>
    </message>
    <message>
        <source>has {count} bands, but the model needs {needed} ({bands})</source>
        <translation>tiene {count} bandas, pero el modelo necesita {needed} ({bands})</translation>
    </message>
    <message>
        <source>its bands are {own}, the model's {bands}; they are taken in their order</source>
        <translation>sus bandas son {own} y las del modelo {bands}; se toman por su orden</translation>
    </message>
    <message>
        <source>its bands have no names: taken in their order, {pairs}</source>
        <translation>sus bandas no tienen nombre: se toman en su orden, {pairs}</translation>
    </message>
    <message>
        <source>band numbers are taken as those of {sensors}: {pairs}</source>
        <translation>los números de banda se toman como los de {sensors}: {pairs}</translation>
    </message>
    <message>
        <source>its bands are chosen by their wavelengths: {pairs}</source>
        <translation>sus bandas se eligen por su longitud de onda: {pairs}</translation>
    </message>
    <message>
        <source>its bands are matched by name, and the one that is left is taken for the one that is missing: {pairs}</source>
        <translation>sus bandas se asignan por nombre, y la que queda se toma por la que falta: {pairs}</translation>
    </message>
    <message>
        <source>its bands are {own}, which {sensors} number differently; name the bands to be read</source>
        <translation>sus bandas son {own}, que {sensors} numeran de otra manera; indique qué bandas se leen</translation>
    </message>
    <message>
        <source>its bands {numbers} could all be the model's {band}; name the bands to be read</source>
        <translation>sus bandas {numbers} podrían ser todas {band} del modelo; indique qué bandas se leen</translation>
    </message>
    <message>
        <source>its bands are {own}, which are not the model's {bands}; name the bands to be read</source>
        <translation>sus bandas son {own}, que no son las del modelo ({bands}); indique qué bandas se leen</translation>
    </message>
    <message>
        <source>matched by colour</source>
        <translation>asignadas por color</translation>
    </message>
    <message>
        <source>the model takes whole numbers from {low:g} to {high:g}: others are rounded, and what is beyond counts as these</source>
        <translation>el modelo toma números enteros de {low:g} a {high:g}: los demás se redondean, y lo que queda fuera cuenta como estos</translation>
    </message>
    <message>
        <source>has {count} bands that are not named as the model's: taken as {pairs}</source>
        <translation>tiene {count} bandas que no se llaman como las del modelo: se toman como {pairs}</translation>
    </message>
    <message>
        <source>the model '{name}' learned from '{unit}', to which Sentinel-2 values cannot be converted</source>
        <translation>el modelo «{name}» aprendió con «{unit}», a lo que no se pueden convertir valores de Sentinel-2</translation>
    </message>
    <message>
        <source>No-data rule</source>
        <translation>Regla de sin datos</translation>
    </message>
    <message>
        <source>A pixel is empty where any of the bands that are read holds its no-data value, or only where all do.</source>
        <translation>Un píxel está vacío donde cualquiera de las bandas que se leen contiene su valor sin datos, o solo donde todas lo contienen.</translation>
    </message>
    <message>
        <source>its band {band} is called alpha but holds more than transparent and opaque: taken for data, not for a mask</source>
        <translation>su banda {band} se llama alfa pero contiene más que transparente y opaco: se toma como datos, no como máscara</translation>
    </message>
    <message>
        <source>{share:.0%} of it holds its nodata value in some bands and not in all: taken for gaps</source>
        <translation>el {share:.0%} contiene su valor sin datos en algunas bandas y no en todas: se toma como huecos</translation>
    </message>
    <message>
        <source>{share:.0%} of it is {value:g} in every band and no nodata value is declared</source>
        <translation>el {share:.0%} es {value:g} en todas las bandas y no se declara ningún valor sin datos</translation>
    </message>
    <message>
        <source>its values reach {most:.4g}, the model learned from {low:g} to {high:g} ({unit}): taken as they are</source>
        <translation>sus valores llegan a {most:.4g} y el modelo aprendió de {low:g} a {high:g} ({unit}): se toman tal como son</translation>
    </message>
    <message>
        <source>its values go down to {least:.4g}, the model learned from {low:g} to {high:g} ({unit}): taken as they are</source>
        <translation>sus valores bajan hasta {least:.4g} y el modelo aprendió de {low:g} a {high:g} ({unit}): se toman tal como son</translation>
    </message>
    <message>
        <source>its values reach {most:g}: taken for Sentinel-2 bands as delivered</source>
        <translation>sus valores llegan a {most:g}: se toman por bandas de Sentinel-2 tal como se distribuyen</translation>
    </message>
    <message>
        <source>taken for Sentinel-2's true colour by its name</source>
        <translation>se toma por el color natural de Sentinel-2, según su nombre</translation>
    </message>
    <message>
        <source>read as {input}, true colour</source>
        <translation>se leen como {input}, color natural</translation>
    </message>
    <message>
        <source>its bands state different scales ({scales}); bring them to one first</source>
        <translation>sus bandas indican escalas distintas ({scales}); llévelas antes a una sola</translation>
    </message>
    <message>
        <source>its bands state different offsets ({offsets}), so which one is meant is unclear</source>
        <translation>sus bandas indican desplazamientos distintos ({offsets}), así que no está claro cuál vale</translation>
    </message>
    <message>
        <source>read as {input}, offset {offset:+g} (as stated)</source>
        <translation>se leen como {input}, desplazamiento {offset:+g} (según lo indicado)</translation>
    </message>
    <message>
        <source>read as {input}, x 10000 (its values are real numbers up to {most:.3g}: taken for reflectance itself)</source>
        <translation>se leen como {input}, x 10000 (sus valores son números reales de hasta {most:.3g}: se toman por la reflectancia misma)</translation>
    </message>
    <message>
        <source>read as {input}, stored value x {factor:.6g} {offset:+g} (as stated)</source>
        <translation>se leen como {input}, valor guardado x {factor:.6g} {offset:+g} (según lo indicado)</translation>
    </message>
    <message>
        <source>read as {input}, offset {offset:+g} (processing baseline {baseline})</source>
        <translation>se leen como {input}, desplazamiento {offset:+g} (línea base de procesamiento {baseline})</translation>
    </message>
    <message>
        <source>read as {input}, offset {offset:+g} (no baseline found, but dark pixels hold {darkest:.0f}: nothing was added to them)</source>
        <translation>se leen como {input}, desplazamiento {offset:+g} (sin línea base, pero los píxeles oscuros valen {darkest:.0f}: no se les sumó nada)</translation>
    </message>
    <message>
        <source>read as {input}, offset {offset:+g} (no baseline found: taken for 04.00 or later)</source>
        <translation>se leen como {input}, desplazamiento {offset:+g} (sin línea base: se toma por 04.00 o posterior)</translation>
    </message>
    <message>
        <source>its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: resampled on the way in</source>
        <translation>sus píxeles miden {pixel:.4g} m y el modelo aprendió con {model:.4g} m: se remuestrean al leerlos</translation>
    </message>
    <message>
        <source>its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: resampled on the way in, from its overviews of {overview:.4g} m</source>
        <translation>sus píxeles miden {pixel:.4g} m y el modelo aprendió con {model:.4g} m: se remuestrean al leerlos, a partir de sus pirámides de {overview:.4g} m</translation>
    </message>
    <message>
        <source>its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: fed as they are</source>
        <translation>sus píxeles miden {pixel:.4g} m y el modelo aprendió con {model:.4g} m: se usan tal cual</translation>
    </message>
    <message>
        <source>areas are measured in its projection, which shows {times:.3g} times the true area at its middle</source>
        <translation>las superficies se miden en su proyección, que en su centro muestra {times:.3g} veces la superficie real</translation>
    </message>
    <message>
        <source>the bounds {west:g} {south:g} {east:g} {north:g} must be west, south, east, north</source>
        <translation>los límites {west:g} {south:g} {east:g} {north:g} deben ser oeste, sur, este, norte</translation>
    </message>
    <message>
        <source>the map is so finely divided that its polygons take {needed:size} of memory or more, and {free:size} are free; leave them out, or map smaller areas</source>
        <translation>el mapa está tan fragmentado que sus polígonos ocupan {needed:size} de memoria o más, y hay {free:size} libres; prescinda de ellos o haga mapas de zonas menores</translation>
    </message>
    <message>
        <source>its polygons would take {most:size} of memory if no two neighbouring pixels were alike, and {free:size} are free: the run stops if it comes to that</source>
        <translation>sus polígonos ocuparían {most:size} de memoria si no hubiera dos píxeles vecinos iguales, y hay {free:size} libres: la ejecución se detiene si se llega a eso</translation>
    </message>
    <message>
        <source>raster</source>
        <translation>ráster</translation>
    </message>
    <message>
        <source>bands</source>
        <translation>bandas</translation>
    </message>
    <message>
        <source>values</source>
        <translation>valores</translation>
    </message>
    <message>
        <source>no data</source>
        <translation>sin datos</translation>
    </message>
    <message>
        <source>pixel size</source>
        <translation>tamaño de píxel</translation>
    </message>
    <message>
        <source>grid</source>
        <translation>cuadrícula</translation>
    </message>
    <message>
        <source>CRS</source>
        <translation>SRC</translation>
    </message>
    <message>
        <source>tiles</source>
        <translation>teselas</translation>
    </message>
    <message>
        <source>memory</source>
        <translation>memoria</translation>
    </message>
    <message>
        <source>time</source>
        <translation>tiempo</translation>
    </message>
    <message>
        <source>files</source>
        <translation>archivos</translation>
    </message>
    <message>
        <source>{rows} rows, {columns} columns, {count} bands, {dtype}</source>
        <translation>{rows} filas, {columns} columnas, {count} bandas, {dtype}</translation>
    </message>
    <message>
        <source>as stated</source>
        <translation>según lo indicado</translation>
    </message>
    <message>
        <source>matched by name</source>
        <translation>asignadas por su nombre</translation>
    </message>
    <message>
        <source>as stored</source>
        <translation>tal como están guardados</translation>
    </message>
    <message>
        <source>stored value x {factor:.6g} {offset:+.6g}</source>
        <translation>valor guardado x {factor:.6g} {offset:+.6g}</translation>
    </message>
    <message>
        <source>cut to {low:g} to {high:g}</source>
        <translation>recortados de {low:g} a {high:g}</translation>
    </message>
    <message>
        <source>nothing says that they are in another unit</source>
        <translation>nada indica que estén en otra unidad</translation>
    </message>
    <message>
        <source>the model learned from {low:g} to {high:g} ({unit})</source>
        <translation>el modelo aprendió con {low:g} a {high:g} ({unit})</translation>
    </message>
    <message>
        <source>none known: every pixel counts as data</source>
        <translation>no se conocen: todos los píxeles cuentan como datos</translation>
    </message>
    <message>
        <source>the mask</source>
        <translation>la máscara</translation>
    </message>
    <message>
        <source>0 in band {band}, the alpha channel</source>
        <translation>0 en la banda {band}, el canal alfa</translation>
    </message>
    <message>
        <source>NaN and infinite values</source>
        <translation>NaN y valores infinitos</translation>
    </message>
    <message>
        <source>{pixel:.4g} m, not resampled</source>
        <translation>{pixel:.4g} m, sin remuestreo</translation>
    </message>
    <message>
        <source>{pixel:.4g} m, resampled to {model:.4g} m</source>
        <translation>{pixel:.4g} m, remuestreados a {model:.4g} m</translation>
    </message>
    <message>
        <source>bilinear, averaged to larger pixels</source>
        <translation>bilineal, con promedio hacia píxeles mayores</translation>
    </message>
    <message>
        <source>bilinear</source>
        <translation>bilineal</translation>
    </message>
    <message>
        <source>the map is brought back onto the raster's pixels (nearest neighbour)</source>
        <translation>el mapa se lleva de nuevo a los píxeles del ráster (vecino más próximo)</translation>
    </message>
    <message>
        <source>states an offset of its values ({offsets}), which is not added to them: taken as they are stored</source>
        <translation>declara un desplazamiento de sus valores ({offsets}) que no se les suma: se toman como están guardados</translation>
    </message>
    <message>
        <source>lies on RPCs instead of a grid; warp it to one with gdalwarp -rpc</source>
        <translation>está sobre RPC en vez de una cuadrícula; llévelo a una con gdalwarp -rpc</translation>
    </message>
    <message>
        <source>resampling is switched off</source>
        <translation>el remuestreo está desactivado</translation>
    </message>
    <message>
        <source>the model learned from {model:.4g} m</source>
        <translation>el modelo aprendió con {model:.4g} m</translation>
    </message>
    <message>
        <source>the model does not state its pixel size</source>
        <translation>el modelo no indica su tamaño de píxel</translation>
    </message>
    <message>
        <source>{rows} rows, {columns} columns, west {west}, south {south}, east {east}, north {north}</source>
        <translation>{rows} filas, {columns} columnas, oeste {west}, sur {south}, este {east}, norte {north}</translation>
    </message>
    <message>
        <source>the raster's own</source>
        <translation>la del propio ráster</translation>
    </message>
    <message>
        <source>the model's pixel size</source>
        <translation>el tamaño de píxel del modelo</translation>
    </message>
    <message>
        <source>one cell for {cell} x {cell} px that the model sees</source>
        <translation>una celda por cada {cell} x {cell} px que ve el modelo</translation>
    </message>
    <message>
        <source>whole pixels around the bounds</source>
        <translation>píxeles enteros alrededor de la extensión</translation>
    </message>
    <message>
        <source>whole pixels around the polygons, what lies outside them is cut out</source>
        <translation>píxeles enteros alrededor de los polígonos; lo que queda fuera de ellos se elimina</translation>
    </message>
    <message>
        <source>{count} of {side} x {side} px, overlap {overlap} px</source>
        <translation>{count} de {side} x {side} px, solape de {overlap} px</translation>
    </message>
    <message>
        <source>{share:.0%} of them meet the polygons, the others are not read</source>
        <translation>el {share:.0%} de ellas toca los polígonos; las demás no se leen</translation>
    </message>
    <message>
        <source>in {count} blocks</source>
        <translation>en {count} bloques</translation>
    </message>
    <message>
        <source>by the model card</source>
        <translation>según la ficha del modelo</translation>
    </message>
    <message>
        <source>{needed:size} for rows in work beside the model, {free:size} free</source>
        <translation>{needed:size} para las filas en curso además del modelo, {free:size} libres</translation>
    </message>
    <message>
        <source>known after the first tiles</source>
        <translation>se conoce tras las primeras teselas</translation>
    </message>
    <message>
        <source>about {seconds:duration}</source>
        <translation>unos {seconds:duration}</translation>
    </message>
    <message>
        <source>measured on the first tiles, {provider}, {threads} at a time</source>
        <translation>medido en las primeras teselas, {provider}, {threads} a la vez</translation>
    </message>
    <message>
        <source>{provider}, {threads} tiles at a time</source>
        <translation>{provider}, {threads} teselas a la vez</translation>
    </message>
    <message>
        <source>up to {size:size} on disk while they are made</source>
        <translation>hasta {size:size} en disco mientras se crean</translation>
    </message>
    <message>
        <source>temporary files</source>
        <translation>archivos temporales</translation>
    </message>
    <message>
        <source>Shows what a model needs (bands, unit, pixel size), what it returns (classes and colours), what it was trained on and its licence. The file is checked; the model is not run. With a layer: also what a run over it would do and why (bands, values, no data, pixel size, grid, tiles, time).</source>
        <translation>Muestra qué necesita un modelo (bandas, unidad, tamaño de píxel), qué devuelve (clases y colores), con qué se entrenó y su licencia. El archivo se comprueba, el modelo no se ejecuta. Con una capa: también qué haría una ejecución sobre ella y por qué (bandas, valores, sin datos, tamaño de píxel, cuadrícula, teselas, tiempo).</translation>
    </message>
    <message>
        <source>Also shows what a run over this layer would do; the first tiles are run to measure the time.</source>
        <translation>Muestra además qué haría una ejecución sobre esta capa; las primeras teselas se ejecutan para medir el tiempo.</translation>
    </message>
    <message>
        <source>in any band that is read</source>
        <translation>en cualquier banda leída</translation>
    </message>
    <message>
        <source>in all bands that are read</source>
        <translation>en todas las bandas leídas</translation>
    </message>
    <message>
        <source>{values} in the mask band {name}</source>
        <translation>{values} en la banda de máscara {name}</translation>
    </message>
    <message>
        <source>{values} {rule}, as the file declares</source>
        <translation>{values} {rule}, según declara el archivo</translation>
    </message>
    <message>
        <source>{value:g} {rule}, as stated</source>
        <translation>{value:g} {rule}, según lo indicado</translation>
    </message>
    <message>
        <source>{value:g} {rule}, as in Sentinel-2 products</source>
        <translation>{value:g} {rule}, como en los productos de Sentinel-2</translation>
    </message>
    <message>
        <source>from overviews of {pixel:.4g} m</source>
        <translation>a partir de pirámides de {pixel:.4g} m</translation>
    </message>
    <message>
        <source>an expected accuracy must lie between 0 and 1, and {value:g} does not</source>
        <translation>una exactitud esperada debe estar entre 0 y 1, y {value:g} no lo está</translation>
    </message>
    <message>
        <source>the standard error that is aimed at must lie between 0 and 0.5, and {value:g} does not</source>
        <translation>el error estándar deseado debe estar entre 0 y 0.5, y {value:g} no lo está</translation>
    </message>
    <message>
        <source>a stratum needs {least} points or more, a buffer at most {buffer} px, and a distance in metres</source>
        <translation>un estrato necesita {least} puntos o más, una zona alrededor del cambio tiene como máximo {buffer} px, y una distancia se da en metros</translation>
    </message>
    <message>
        <source>fewer points than planned in {strata}: no more lie {distance:g} m or more from all others</source>
        <translation>menos puntos de los previstos en {strata}: no hay más a {distance:g} m o más de todos los demás</translation>
    </message>
    <message>
        <source>holds a sample with {count} labelled points, which would be lost</source>
        <translation>contiene una muestra con {count} puntos etiquetados, que se perderían</translation>
    </message>
    <message>
        <source>has no class or stratum '{text}'; it has {classes}</source>
        <translation>no tiene ninguna clase ni estrato «{text}»; tiene {classes}</translation>
    </message>
    <message>
        <source>no sample that was drawn from a map</source>
        <translation>no es una muestra extraída de un mapa</translation>
    </message>
    <message>
        <source>another program is writing to the file</source>
        <translation>otro programa está escribiendo en el archivo</translation>
    </message>
    <message>
        <source>the file with the sample is gone</source>
        <translation>el archivo de la muestra ya no está</translation>
    </message>
    <message>
        <source>point {number} is no longer in the file</source>
        <translation>el punto {number} ya no está en el archivo</translation>
    </message>
    <message>
        <source>{count} of {total} points have no class yet and do not count</source>
        <translation>{count} de {total} puntos aún no tienen clase y no cuentan</translation>
    </message>
    <message>
        <source>no point has a class yet</source>
        <translation>ningún punto tiene clase todavía</translation>
    </message>
    <message>
        <source>no labelled point lies in {classes}: {share:.1%} of the area is left out of all estimates</source>
        <translation>ningún punto etiquetado cae en {classes}: el {share:.1%} de la superficie queda fuera de todas las estimaciones</translation>
    </message>
    <message>
        <source>Draw a sample of a map</source>
        <translation>Extraer una muestra de un mapa</translation>
    </message>
    <message>
        <source>Draws a random sample of a map of classes, for assessing its accuracy and the areas of its classes.

Each class is a stratum; on a map of change (classes named 'A to B', or those that you name) the pixels around change are one too, since that is where change is missed. Sizes: Neyman's allocation for a standard error of the overall accuracy, and at least so many points a stratum.

The points are in random order. Label them with Raster &gt; GeoAware &gt; Label a sample; 'Assess a map' then needs nothing but the sample. The same map, settings and seed give the same points.</source>
        <translation>Extrae una muestra aleatoria de un mapa de clases, para evaluar su exactitud y las superficies de sus clases.

Cada clase es un estrato; en un mapa de cambios (clases llamadas «A to B», o las que usted indique) también lo son los píxeles alrededor del cambio, porque ahí es donde se pasa por alto. Tamaños: la asignación de Neyman para un error estándar de la exactitud global, y como mínimo tantos puntos por estrato.

Los puntos están en orden aleatorio. Etiquételos con Ráster &gt; GeoAware &gt; Etiquetar una muestra; «Evaluar un mapa» no necesita entonces más que la muestra. El mismo mapa, los mismos ajustes y la misma semilla dan los mismos puntos.</translation>
    </message>
    <message>
        <source>One for all classes, or NAME=0.9 for one, separated by semicolons; buffer=0.9 for the pixels around change. Empty: {change} of change, {stable} of all else.</source>
        <translation>Una para todas las clases, o NOMBRE=0.9 para una, separadas por punto y coma; buffer=0.9 para los píxeles alrededor del cambio. Vacío: {change} de los cambios, {stable} de lo demás.</translation>
    </message>
    <message>
        <source>Classes that are change (empty: those named A to B)</source>
        <translation>Clases que son cambio (vacío: las llamadas A to B)</translation>
    </message>
    <message>
        <source>Names or values, separated by semicolons.</source>
        <translation>Nombres o valores, separados por punto y coma.</translation>
    </message>
    <message>
        <source>Width of the stratum around change, pixels</source>
        <translation>Anchura del estrato alrededor del cambio, píxeles</translation>
    </message>
    <message>
        <source>0 for none.</source>
        <translation>0 para ninguno.</translation>
    </message>
    <message>
        <source>Expected user's accuracies</source>
        <translation>Exactitudes de usuario esperadas</translation>
    </message>
    <message>
        <source>Standard error of the overall accuracy</source>
        <translation>Error estándar de la exactitud global</translation>
    </message>
    <message>
        <source>The smaller, the more points.</source>
        <translation>Cuanto menor, más puntos.</translation>
    </message>
    <message>
        <source>Points of a stratum, at least</source>
        <translation>Puntos de un estrato, como mínimo</translation>
    </message>
    <message>
        <source>Of a stratum with fewer pixels, all.</source>
        <translation>De un estrato con menos píxeles, todos.</translation>
    </message>
    <message>
        <source>Distance between points, metres, at least</source>
        <translation>Distancia entre puntos, metros, como mínimo</translation>
    </message>
    <message>
        <source>Rare strata choose their points first.</source>
        <translation>Los estratos raros eligen primero sus puntos.</translation>
    </message>
    <message>
        <source>Seed</source>
        <translation>Semilla</translation>
    </message>
    <message>
        <source>Another one gives other points.</source>
        <translation>Otra da otros puntos.</translation>
    </message>
    <message>
        <source>Sample</source>
        <translation>Muestra</translation>
    </message>
    <message>
        <source>GeoPackage with points, strata, classes and all settings.</source>
        <translation>GeoPackage con los puntos, los estratos, las clases y todos los ajustes.</translation>
    </message>
    <message>
        <source>Number of points</source>
        <translation>Número de puntos</translation>
    </message>
    <message>
        <source>Name the file of the sample.</source>
        <translation>Indique el archivo de la muestra.</translation>
    </message>
    <message>
        <source>sample</source>
        <translation>muestra</translation>
    </message>
    <message>
        <source>'{text}': write accuracies as 0.9 or NAME=0.9, separated by semicolons.</source>
        <translation>«{text}»: escriba las exactitudes como 0.9 o NOMBRE=0.9, separadas por punto y coma.</translation>
    </message>
    <message>
        <source>Compares a map of classes with reference points or polygons: confusion matrix, user's and producer's accuracy and the area of each class, with 95 % confidence intervals.

Each class of the map is a stratum, and sample counts are weighted by mapped area (Olofsson et al. 2014). The sample must be random within each class of the map, or over the whole map, and must not have been used for training. A polygon counts as one unit; its map class is that of most of its pixels.

A sample that 'Draw a sample of a map' made holds its own strata and the areas of its map: then the map may be left out, or be another one of the same area (Stehman 2014).</source>
        <translation>Compara un mapa de clases con puntos o polígonos de referencia: matriz de confusión, exactitud de usuario y de productor y superficie de cada clase, con intervalos de confianza del 95 %.

Cada clase del mapa es un estrato, y los recuentos de la muestra se ponderan por la superficie cartografiada (Olofsson et al. 2014). La muestra debe ser aleatoria dentro de cada clase del mapa, o en todo el mapa, y no debe haberse usado para entrenar. Un polígono cuenta como una unidad; su clase en el mapa es la de la mayoría de sus píxeles.

Una muestra hecha con «Extraer una muestra de un mapa» contiene sus propios estratos y las superficies de su mapa: entonces el mapa puede omitirse, o ser otro de la misma zona (Stehman 2014).</translation>
    </message>
    <message>
        <source>The file cannot be read ({error}).</source>
        <translation>No se puede leer el archivo ({error}).</translation>
    </message>
    <message>
        <source>The file cannot be written ({error}).</source>
        <translation>No se puede escribir el archivo ({error}).</translation>
    </message>
    <message>
        <source>{problem}. {count} answers wait in this panel, and are saved as soon as that is possible.</source>
        <translation>{problem}. {count} respuestas esperan en este panel y se guardan en cuanto sea posible.</translation>
    </message>
    <message>
        <source>The sample could not be written; these answers, by number of their point, are not in it: {answers}</source>
        <translation>No se pudo escribir la muestra; estas respuestas, por número de su punto, no están en ella: {answers}</translation>
    </message>
    <message>
        <source>The answers to the sample before could not be saved; it stays open.</source>
        <translation>No se pudieron guardar las respuestas de la muestra anterior; sigue abierta.</translation>
    </message>
    <message>
        <source>GeoAware: open a sample</source>
        <translation>GeoAware: abrir una muestra</translation>
    </message>
    <message>
        <source>GeoAware: save answers</source>
        <translation>GeoAware: guardar respuestas</translation>
    </message>
    <message>
        <source>GeoPackages (*.gpkg)</source>
        <translation>GeoPackages (*.gpkg)</translation>
    </message>
    <message>
        <source>GeoAware: label a sample</source>
        <translation>GeoAware: etiquetar una muestra</translation>
    </message>
    <message>
        <source>Notes</source>
        <translation>Notas</translation>
    </message>
    <message>
        <source>Open sample…</source>
        <translation>Abrir muestra…</translation>
    </message>
    <message>
        <source>Back</source>
        <translation>Atrás</translation>
    </message>
    <message>
        <source>Assess</source>
        <translation>Evaluar</translation>
    </message>
    <message>
        <source>Image, or the one before</source>
        <translation>Imagen, o la anterior</translation>
    </message>
    <message>
        <source>The one after</source>
        <translation>La posterior</translation>
    </message>
    <message>
        <source>Backspace</source>
        <translation>Retroceso</translation>
    </message>
    <message>
        <source>Space: the point keeps no class</source>
        <translation>Espacio: el punto queda sin clase</translation>
    </message>
    <message>
        <source>Accuracy and areas from all points that have a class</source>
        <translation>Exactitud y superficies a partir de todos los puntos que tienen clase</translation>
    </message>
    <message>
        <source>Open sample</source>
        <translation>Abrir muestra</translation>
    </message>
    <message>
        <source>Hidden, so that they do not tell the answers: {layers}.</source>
        <translation>Ocultas, para que no revelen las respuestas: {layers}.</translation>
    </message>
    <message>
        <source>Before</source>
        <translation>Antes</translation>
    </message>
    <message>
        <source>After</source>
        <translation>Después</translation>
    </message>
    <message>
        <source>No sample is open.</source>
        <translation>No hay ninguna muestra abierta.</translation>
    </message>
    <message>
        <source>&lt;b&gt;Point {number} of {total}&lt;/b&gt;, {labelled} labelled</source>
        <translation>&lt;b&gt;Punto {number} de {total}&lt;/b&gt;, {labelled} etiquetados</translation>
    </message>
    <message>
        <source>All points were seen.</source>
        <translation>Se han visto todos los puntos.</translation>
    </message>
    <message>
        <source>skipped</source>
        <translation>omitido</translation>
    </message>
    <message>
        <source>Label a sample…</source>
        <translation>Etiquetar una muestra…</translation>
    </message>
    <message>
        <source>; choose its '{parameter}'</source>
        <translation>; elija su «{parameter}»</translation>
    </message>
    <message>
        <source>no point or polygon lies on the data of the map</source>
        <translation>ningún punto ni polígono cae sobre los datos del mapa</translation>
    </message>
    <message>
        <source>{count} of {total} units lie outside the map or on nodata and do not count</source>
        <translation>{count} de {total} unidades caen fuera del mapa o sin datos y no cuentan</translation>
    </message>
    <message>
        <source>no unit lies on {classes}: {share:.1%} of the map is left out of all estimates</source>
        <translation>ninguna unidad cae en {classes}: el {share:.1%} del mapa queda fuera de todas las estimaciones</translation>
    </message>
    <message>
        <source>labels of at least two classes are needed</source>
        <translation>se necesitan etiquetas de al menos dos clases</translation>
    </message>
    <message>
        <source>nothing is labelled {classes}: the map will not show it</source>
        <translation>nada está etiquetado como {classes}: el mapa no lo mostrará</translation>
    </message>
    <message>
        <source>one polygon alone is labelled {classes}: how well it is mapped cannot be known</source>
        <translation>un solo polígono está etiquetado como {classes}: no se puede saber si el mapa acierta</translation>
    </message>
    <message>
        <source>all that is labelled {classes} lies in one of {blocks} parts of the area: how well it is mapped elsewhere cannot be known</source>
        <translation>todo lo etiquetado como {classes} está en una de las {blocks} partes del área: no se puede saber si el mapa acierta en otros lugares</translation>
    </message>
    <message>
        <source>all labels of {classes} share pixels: how well it is mapped elsewhere cannot be known</source>
        <translation>todas las etiquetas de {classes} comparten píxeles: no se puede saber con qué acierto se cartografía en otros lugares</translation>
    </message>
    <message>
        <source>fewer than {needed} polygons are labelled {classes}: their accuracy is known only roughly</source>
        <translation>menos de {needed} polígonos están etiquetados como {classes}: su exactitud solo se conoce de forma aproximada</translation>
    </message>
    <message>
        <source>one unit alone lies on {classes}: it tells next to nothing, and all limits allow for that</source>
        <translation>una sola unidad cae en {classes}: casi no dice nada, y todos los límites lo tienen en cuenta</translation>
    </message>
    <message>
        <source>on each of {classes} all units are of one class: the limits allow for the errors that so few units can miss</source>
        <translation>en cada una de {classes} todas las unidades son de una sola clase: los límites tienen en cuenta los errores que tan pocas unidades pueden no mostrar</translation>
    </message>
    <message>
        <source>has no attribute '{attribute}'; it has {attributes}</source>
        <translation>no tiene el atributo «{attribute}»; tiene {attributes}</translation>
    </message>
    <message>
        <source>'{text}' in '{attribute}' is neither a class number nor a class name of the map</source>
        <translation>«{text}» en «{attribute}» no es ni un número ni un nombre de clase del mapa</translation>
    </message>
    <message>
        <source>the bounds lie outside it (it covers {extent}): nothing to map</source>
        <translation>la extensión queda fuera (abarca {extent}): no hay nada que cartografiar</translation>
    </message>
    <message>
        <source>the bounds lie at both ends of it, and polygons are given too: map each end alone</source>
        <translation>la extensión está en ambos extremos, y además se dan polígonos: cartografíe cada extremo por separado</translation>
    </message>
    <message>
        <source>no pixel lies in the polygons (it covers {extent}): the map holds no data</source>
        <translation>ningún píxel está dentro de los polígonos (abarca {extent}): el mapa no contiene datos</translation>
    </message>
    <message>
        <source>{width} px are too wide: {needed:size} of memory are needed and {free:size} are free; map it in parts</source>
        <translation>{width} px son demasiado anchos: se necesitan {needed:size} de memoria y hay {free:size} libres; procéselo por partes</translation>
    </message>
    <message>
        <source>corrupt or truncated file: pixels from row {row}, column {column} on cannot be read ({reason})</source>
        <translation>archivo dañado o incompleto: no se pueden leer los píxeles a partir de la fila {row}, columna {column} ({reason})</translation>
    </message>
    <message>
        <source>its pixels are {dtype}; a model reads numbers</source>
        <translation>sus píxeles son {dtype}; un modelo lee números</translation>
    </message>
    <message>
        <source>its pixels are complex numbers: their magnitude is taken</source>
        <translation>sus píxeles son números complejos: se toma su módulo</translation>
    </message>
    <message>
        <source>holds several rasters on one grid, taken as its bands: {names}</source>
        <translation>contiene varios rásteres sobre una misma cuadrícula, que se toman como sus bandas: {names}</translation>
    </message>
    <message>
        <source>lies on {count} control points: warped through them to a grid (nearest neighbour)</source>
        <translation>está sobre {count} puntos de control: se lleva con ellos a una cuadrícula (vecino más próximo)</translation>
    </message>
    <message>
        <source>two results have this name, or their styles would have; give each a name of its own</source>
        <translation>dos resultados tienen este nombre, o lo tendrían sus estilos; dé a cada uno un nombre propio</translation>
    </message>
    <message>
        <source>would overwrite {source}, which is read</source>
        <translation>sobrescribiría {source}, que se lee</translation>
    </message>
    <message>
        <source>the model '{name}' gives values, no classes: it has no confidence, probabilities or polygons</source>
        <translation>el modelo '{name}' da valores, no clases: no tiene confianza, probabilidades ni polígonos</translation>
    </message>
    <message>
        <source>cannot be written ({reason})</source>
        <translation>no se puede escribir ({reason})</translation>
    </message>
    <message>
        <source>could not be written completely</source>
        <translation>no se pudo escribir por completo</translation>
    </message>
    <message>
        <source>the disk is full: up to {needed:size} may be needed while it is made and {free:size} are free</source>
        <translation>el disco está lleno: pueden necesitarse hasta {needed:size} durante la escritura y hay {free:size} libres</translation>
    </message>
    <message>
        <source>the disk is full: up to {needed:size} may be needed to join the features in one file and {free:size} are free; they are kept as they are</source>
        <translation>el disco está lleno: pueden necesitarse hasta {needed:size} para unir las características en un archivo y hay {free:size} libres; se conservan como están</translation>
    </message>
    <message>
        <source>, with smaller extents</source>
        <translation>, con extensiones menores</translation>
    </message>
    <message>
        <source>; choose another file</source>
        <translation>; elija otro archivo</translation>
    </message>
    <message>
        <source>holds no class numbers</source>
        <translation>no contiene números de clase</translation>
    </message>
    <message>
        <source>the place lies outside</source>
        <translation>el lugar está fuera</translation>
    </message>
    <message>
        <source>the model '{name}' finds objects, which have no curve; choose one that maps classes, values or features</source>
        <translation>el modelo «{name}» busca objetos, que no tienen curva; elija uno que cartografíe clases, valores o características</translation>
    </message>
    <message>
        <source>there are no rasters with dates</source>
        <translation>no hay rásteres con fecha</translation>
    </message>
    <message>
        <source>'{name}' comes from a service without pixels of its own: it has no curve.</source>
        <translation>«{name}» viene de un servicio sin píxeles propios: no tiene curva.</translation>
    </message>
    <message>
        <source>'{name}' has {count} bands, which {dates} dates do not divide.</source>
        <translation>«{name}» tiene {count} bandas, que no se reparten entre {dates} fechas.</translation>
    </message>
    <message>
        <source>'{path}' cannot be written ({error}).</source>
        <translation>No se puede escribir «{path}» ({error}).</translation>
    </message>
    <message>
        <source>'{text}' is no date: write it like 2024-06-30.</source>
        <translation>«{text}» no es una fecha: escríbala como 2024-06-30.</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>Aplicar</translation>
    </message>
    <message>
        <source>lies on another grid than {other}</source>
        <translation>está en otra cuadrícula que {other}</translation>
    </message>
    <message>
        <source>does not overlap {other}: nothing to compare</source>
        <translation>no coincide en ninguna parte con {other}: no hay nada que comparar</translation>
    </message>
    <message>
        <source>no pixel holds data at both dates: nothing to compare</source>
        <translation>ningún píxel contiene datos en ambas fechas: no hay nada que comparar</translation>
    </message>
    <message>
        <source>{count} classes have too many pairs for a map (limit {limit} classes)</source>
        <translation>{count} clases forman demasiados pares para un mapa (límite: {limit} clases)</translation>
    </message>
    <message>
        <source>the classes of the model '{name}' do not exclude each other, so it gives no probability of a change from one to another</source>
        <translation>las clases del modelo «{name}» no se excluyen entre sí, por lo que no da ninguna probabilidad de cambio de una a otra</translation>
    </message>
    <message>
        <source>'{text}' in '{attribute}' is neither yes or no (1 or 0) nor a class of the from-to map</source>
        <translation>«{text}» en «{attribute}» no es ni sí o no (yes o no, 1 o 0) ni una clase del mapa de cambios</translation>
    </message>
    <message>
        <source>{changed} changed and {kept} unchanged places of it lie on data of both dates; at least {least} of each are needed</source>
        <translation>{changed} lugares que cambiaron y {kept} que no lo hicieron contienen datos de ambas fechas; se necesitan al menos {least} de cada tipo</translation>
    </message>
    <message>
        <source>its places changed no more often where the model says so than elsewhere: it cannot calibrate anything</source>
        <translation>sus lugares no cambiaron más donde el modelo lo dice que en otras partes: no sirve para calibrar</translation>
    </message>
    <message>
        <source>the change probability is not calibrated: it is the model's own and takes the errors of both dates for independent</source>
        <translation>la probabilidad de cambio no está calibrada: es la del modelo y toma por independientes los errores de ambas fechas</translation>
    </message>
    <message>
        <source>the change probability is calibrated on {count} places of {sample}: mean squared error {before:.3f} before, {after:.3f} after (each place left out in turn)</source>
        <translation>la probabilidad de cambio está calibrada con {count} lugares de {sample}: error cuadrático medio {before:.3f} antes y {after:.3f} después (cada lugar excluido por turno)</translation>
    </message>
    <message>
        <source>changed is what has a feature distance of {threshold:.3g} or more, by Otsu's rule, which cuts every image in two, also where nothing changed (separability {share:.2f} of 1)</source>
        <translation>ha cambiado lo que tiene una distancia de características de {threshold:.3g} o más, según la regla de Otsu, que divide en dos cualquier imagen, también donde nada cambió (separabilidad {share:.2f} de 1)</translation>
    </message>
    <message>
        <source>changed is what has a feature distance of {threshold:.3g} or more: {recall:.0%} of the changed and {alarms:.0%} of the unchanged places of {sample}</source>
        <translation>ha cambiado lo que tiene una distancia de características de {threshold:.3g} o más: {recall:.0%} de los lugares que cambiaron y {alarms:.0%} de los que no cambiaron, de {sample}</translation>
    </message>
    <message>
        <source>pixels without data: {before} lack the second date, {after} the first, {neither} both; they are left out of all areas</source>
        <translation>píxeles sin datos: a {before} les falta la segunda fecha, a {after} la primera, a {neither} ambas; no cuentan en ninguna superficie</translation>
    </message>
    <message>
        <source>Change between two dates</source>
        <translation>Cambio entre dos fechas</translation>
    </message>
    <message>
        <source>Compares two layers of an area with a model of classes or an encoder. The result has the pixels of the first layer, where both overlap.

Change, with a model of classes: a map of what each pixel was and is, such as 'forest to cropland'; a class that stayed has its plain name. With an encoder: 1 unchanged, 2 changed.

Strength of the change: the probability that the classes differ, per cent; with an encoder the cosine distance of the features, 0 to 2.

Matrix and report: hectares from each class to each, pixels without data, pictures.

The probability is calibrated only with reference places of which is known whether they changed. The areas are counted pixels: the errors of both dates add up in them, and 'Assess a map' corrects them.</source>
        <translation>Compara dos capas de una zona con un modelo de clases o un codificador. El resultado tiene los píxeles de la primera capa, donde ambas coinciden.

Cambio, con un modelo de clases: un mapa de lo que cada píxel era y es, como «forest to cropland» (de una clase a otra); una clase que no cambió conserva su nombre. Con un codificador: 1 sin cambio, 2 con cambio.

Intensidad del cambio: la probabilidad de que las clases difieran, en porcentaje; con un codificador, la distancia coseno de las características, de 0 a 2.

Matriz e informe: hectáreas de cada clase a cada clase, píxeles sin datos, imágenes.

La probabilidad solo está calibrada con lugares de referencia de los que se sabe si cambiaron. Las superficies son píxeles contados: en ellas se suman los errores de ambas fechas, y «Evaluar un mapa» los corrige.</translation>
    </message>
    <message>
        <source>Probability in per cent; with an encoder the distance of features.</source>
        <translation>Probabilidad en porcentaje; con un codificador, la distancia de las características.</translation>
    </message>
    <message>
        <source>With an encoder: distance of features from which on a place has changed; empty: Otsu's rule.</source>
        <translation>Con un codificador: distancia de las características a partir de la cual un lugar ha cambiado; vacío: la regla de Otsu.</translation>
    </message>
    <message>
        <source>Points, or polygons of which a place inside is taken, of which is known whether they changed: random, or random within the classes of a change map. They calibrate the probability, or set the distance that keeps 90 % of the changed ones.</source>
        <translation>Puntos, o polígonos de los que se toma un lugar interior, de los que se sabe si cambiaron: al azar, o al azar dentro de las clases de un mapa de cambios. Calibran la probabilidad o fijan la distancia que conserva el 90 % de los que cambiaron.</translation>
    </message>
    <message>
        <source>Field with the truth (empty: the field named class)</source>
        <translation>Campo con la verdad (vacío: el campo llamado class)</translation>
    </message>
    <message>
        <source>Changed: {hectares} ha (counted pixels)</source>
        <translation>Cambio: {hectares} ha (píxeles contados)</translation>
    </message>
    <message>
        <source>Its pixels are those of the result.</source>
        <translation>Sus píxeles son los del resultado.</translation>
    </message>
    <message>
        <source>The same kind of image, later.</source>
        <translation>El mismo tipo de imagen, más tarde.</translation>
    </message>
    <message>
        <source>Only this part of the layers, in any CRS.</source>
        <translation>Solo esta parte de las capas, en cualquier SRC.</translation>
    </message>
    <message>
        <source>Change</source>
        <translation>Cambio</translation>
    </message>
    <message>
        <source>Strength of the change</source>
        <translation>Intensidad del cambio</translation>
    </message>
    <message>
        <source>Classes before</source>
        <translation>Clases antes</translation>
    </message>
    <message>
        <source>As 'Segment raster layer' gives them.</source>
        <translation>Como las da «Segmentar capa ráster».</translation>
    </message>
    <message>
        <source>Classes after</source>
        <translation>Clases después</translation>
    </message>
    <message>
        <source>Matrix</source>
        <translation>Matriz</translation>
    </message>
    <message>
        <source>CSV files (*.csv)</source>
        <translation>Archivos CSV (*.csv)</translation>
    </message>
    <message>
        <source>Choose the layers and their dates.</source>
        <translation>Elija las capas y sus fechas.</translation>
    </message>
    <message>
        <source>Click a place on the map</source>
        <translation>Haga clic en un lugar del mapa</translation>
    </message>
    <message>
        <source>Click a place on the map.</source>
        <translation>Haga clic en un lugar del mapa.</translation>
    </message>
    <message>
        <source>Click a place: what layers of several dates hold there, or a model says</source>
        <translation>Haga clic en un lugar: qué contienen allí capas de varias fechas, o qué dice un modelo</translation>
    </message>
    <message>
        <source>Copy the picture</source>
        <translation>Copiar la imagen</translation>
    </message>
    <message>
        <source>Dates of its bands</source>
        <translation>Fechas de sus bandas</translation>
    </message>
    <message>
        <source>For one layer that holds several dates: the dates in the order of its bands, which are shared out evenly (of 12 bands and 4 dates, the first 3 bands are of the first date). Not needed where the names of the bands hold dates.</source>
        <translation>Para una capa con varias fechas: las fechas en el orden de sus bandas, que se reparten por igual (con 12 bandas y 4 fechas, las 3 primeras bandas son de la primera fecha). No hace falta si los nombres de las bandas contienen fechas.</translation>
    </message>
    <message>
        <source>Forget all places</source>
        <translation>Olvidar todos los lugares</translation>
    </message>
    <message>
        <source>GeoAware: layers and dates</source>
        <translation>GeoAware: capas y fechas</translation>
    </message>
    <message>
        <source>GeoAware: season curve</source>
        <translation>GeoAware: curva estacional</translation>
    </message>
    <message>
        <source>Layers and dates…</source>
        <translation>Capas y fechas…</translation>
    </message>
    <message>
        <source>Opening the model…</source>
        <translation>Abriendo el modelo…</translation>
    </message>
    <message>
        <source>Reading…</source>
        <translation>Leyendo…</translation>
    </message>
    <message>
        <source>Save as CSV</source>
        <translation>Guardar como CSV</translation>
    </message>
    <message>
        <source>Save as CSV…</source>
        <translation>Guardar como CSV…</translation>
    </message>
    <message>
        <source>Saved: {path}</source>
        <translation>Guardado: {path}</translation>
    </message>
    <message>
        <source>Season curve</source>
        <translation>Curva estacional</translation>
    </message>
    <message>
        <source>The last places, at most {count}</source>
        <translation>Los últimos lugares, como máximo {count}</translation>
    </message>
    <message>
        <source>Values of the bands</source>
        <translation>Valores de las bandas</translation>
    </message>
    <message>
        <source>What is shown: values of the bands, or what a model says</source>
        <translation>Qué se muestra: valores de las bandas, o lo que dice un modelo</translation>
    </message>
    <message>
        <source>no layers chosen</source>
        <translation>ninguna capa elegida</translation>
    </message>
    <message>
        <source>probability</source>
        <translation>probabilidad</translation>
    </message>
    <message>
        <source>similarity to the mean of all dates</source>
        <translation>similitud con la media de todas las fechas</translation>
    </message>
    <message>
        <source>{count} dates, {first} to {last}</source>
        <translation>{count} fechas, de {first} a {last}</translation>
    </message>
    <message>
        <source>Hectares from each class (rows) to each (columns), with a JSON beside it.</source>
        <translation>Hectáreas de cada clase (filas) a cada clase (columnas), con un JSON al lado.</translation>
    </message>
    <message>
        <source>HTML page with matrix, areas and pictures.</source>
        <translation>Página HTML con matriz, superficies e imágenes.</translation>
    </message>
    <message>
        <source>Distance of a change</source>
        <translation>Distancia de un cambio</translation>
    </message>
    <message>
        <source>Reference places</source>
        <translation>Lugares de referencia</translation>
    </message>
    <message>
        <source>yes or no, 1 or 0, or a class of the change map.</source>
        <translation>yes o no, 1 o 0, o una clase del mapa de cambios.</translation>
    </message>
    <message>
        <source>strength of the change</source>
        <translation>intensidad del cambio</translation>
    </message>
    <message>
        <source>change</source>
        <translation>cambio</translation>
    </message>
    <message>
        <source>classes after</source>
        <translation>clases después</translation>
    </message>
    <message>
        <source>classes before</source>
        <translation>clases antes</translation>
    </message>
    <message>
        <source>Layer before</source>
        <translation>Capa antes</translation>
    </message>
    <message>
        <source>Layer after</source>
        <translation>Capa después</translation>
    </message>
    <message>
        <source>Changed area, hectares</source>
        <translation>Superficie con cambio, hectáreas</translation>
    </message>
    <message>
        <source>'{name}' is given as the layer before and as the layer after: choose two different ones.</source>
        <translation>'{name}' se indica como capa anterior y como capa posterior: elija dos distintas.</translation>
    </message>
    <message>
        <source>Give either reference places or a distance of a change.</source>
        <translation>Indique lugares de referencia o una distancia de un cambio, no ambas cosas.</translation>
    </message>
    <message>
        <source>nothing says when it was taken, which the model needs to know</source>
        <translation>nada dice cuándo se tomó, y el modelo necesita saberlo</translation>
    </message>
    <message>
        <source>The model '{name}' reads a series of dates: compare periods with python -m export.change --before … --after …</source>
        <translation>El modelo «{name}» lee una serie de fechas: compare periodos con python -m export.change --before … --after …</translation>
    </message>
    <message>
        <source>Two of the dates of '{name}' are the same.</source>
        <translation>Dos de las fechas de «{name}» son iguales.</translation>
    </message>
    <message>
        <source>The bands of '{name}' follow band by band, not date by date: bring them into the order of the dates.</source>
        <translation>Las bandas de «{name}» van banda por banda, no fecha por fecha: póngalas en el orden de las fechas.</translation>
    </message>
    <message>
        <source>holds no data there</source>
        <translation>no contiene datos ahí</translation>
    </message>
    <message>
        <source>holds AlphaEarth embeddings, {count} bands of 8 bits: read by their published rule</source>
        <translation>contiene características de AlphaEarth, {count} bandas de 8 bits: se leen según su regla publicada</translation>
    </message>
    <message>
        <source>holds AlphaEarth embeddings as real numbers: taken as they are</source>
        <translation>contiene características de AlphaEarth como números reales: se toman tal cual</translation>
    </message>
    <message>
        <source>holds TESSERA embeddings as real numbers: taken as they are</source>
        <translation>contiene características de TESSERA como números reales: se toman tal cual</translation>
    </message>
    <message>
        <source>holds TESSERA embeddings, 128 bands and the scale of each pixel, by which they are multiplied</source>
        <translation>contiene características de TESSERA, 128 bandas y la escala de cada píxel, por la que se multiplican</translation>
    </message>
    <message>
        <source>holds TESSERA embeddings of 8 bits without the scale of each pixel: only their direction is used; with the scale as band 129 both are</source>
        <translation>contiene características de TESSERA de 8 bits sin la escala de cada píxel: solo se usa su dirección; con la escala como banda 129 se usan ambas</translation>
    </message>
    <message>
        <source>holds {count} features, as embedding a raster writes them</source>
        <translation>contiene {count} características, como las escribe la extracción de características</translation>
    </message>
    <message>
        <source>is not known to hold features: its {count} bands are taken for features as they are</source>
        <translation>no se sabe si contiene características: sus {count} bandas se toman como tales sin cambios</translation>
    </message>
    <message>
        <source>{count} features of the model '{name}'</source>
        <translation>{count} características del modelo «{name}»</translation>
    </message>
    <message>
        <source>the model '{name}' is a {task} model; features need an embedding model whose answer is a map, or bands and texture</source>
        <translation>el modelo «{name}» es de tipo {task}; las características requieren un modelo de tipo embedding cuya respuesta sea un mapa, o bandas y textura</translation>
    </message>
    <message>
        <source>the model '{name}' answers once per tile; features need an embedding model whose answer is a map, or bands and texture</source>
        <translation>el modelo «{name}» responde una vez por tesela; las características requieren un modelo de tipo embedding cuya respuesta sea un mapa, o bandas y textura</translation>
    </message>
    <message>
        <source>its tiles of {tile} px are no multiple of {step} px, or too small: features cannot be computed with it so</source>
        <translation>sus teselas de {tile} px no son múltiplo de {step} px, o son demasiado pequeñas: así no se pueden calcular características con él</translation>
    </message>
    <message>
        <source>its tiles of {tile} px are too small for a border of {border} px</source>
        <translation>sus teselas de {tile} px son demasiado pequeñas para un borde de {border} px</translation>
    </message>
    <message>
        <source>holds no data where features could be learned</source>
        <translation>no contiene datos de los que aprender características</translation>
    </message>
    <message>
        <source>the features of '{name}' are no finite numbers</source>
        <translation>las características de «{name}» no son números finitos</translation>
    </message>
    <message>
        <source>was changed or removed while its features were computed; start again with it as it is now</source>
        <translation>se modificó o eliminó mientras se calculaban sus características; empiece de nuevo con su estado actual</translation>
    </message>
    <message>
        <source>features are no longer kept on the disk ({reason}); what is computed stays right</source>
        <translation>las características ya no se guardan en el disco ({reason}); lo calculado sigue siendo correcto</translation>
    </message>
    <message>
        <source>its coordinates are not valid</source>
        <translation>sus coordenadas no son válidas</translation>
    </message>
    <message>
        <source>'{attribute}' is empty for all labels; it must hold the class of each</source>
        <translation>«{attribute}» está vacío en todas las etiquetas; debe contener la clase de cada una</translation>
    </message>
    <message>
        <source>'{attribute}' has {count} different values, too many to be classes (limit {limit})</source>
        <translation>«{attribute}» tiene {count} valores distintos, demasiados para ser clases (límite {limit})</translation>
    </message>
    <message>
        <source>'{one}' and '{other}' in '{attribute}' differ by case, spaces or leading zeros only; write the class in one way</source>
        <translation>«{one}» y «{other}» en «{attribute}» solo difieren en mayúsculas, espacios o ceros a la izquierda; escriba la clase de una sola manera</translation>
    </message>
    <message>
        <source>The label layer '{name}' cannot be read.</source>
        <translation>No se puede leer la capa de etiquetas «{name}».</translation>
    </message>
    <message>
        <source>'{name}' holds no points or polygons.</source>
        <translation>«{name}» no contiene puntos ni polígonos.</translation>
    </message>
    <message>
        <source>'{name}' holds labels of several points each: split them into single points.</source>
        <translation>«{name}» contiene etiquetas de varios puntos cada una: divídalas en puntos simples.</translation>
    </message>
    <message>
        <source>none of its labels lies on {rasters}</source>
        <translation>ninguna de sus etiquetas está sobre {rasters}</translation>
    </message>
    <message>
        <source>all of its labels that lie on {rasters} lie on pixels without data</source>
        <translation>todas sus etiquetas que están sobre {rasters} caen en píxeles sin datos</translation>
    </message>
    <message>
        <source>the labels that lie on the data of {rasters} are all '{name}'; at least two classes are needed</source>
        <translation>las etiquetas que están sobre los datos de {rasters} son todas «{name}»; se necesitan al menos dos clases</translation>
    </message>
    <message>
        <source>{count} of {total} labels lie outside and do not count</source>
        <translation>{count} de {total} etiquetas están fuera y no cuentan</translation>
    </message>
    <message>
        <source>{count} of {total} labels lie on pixels without data and do not count</source>
        <translation>{count} de {total} etiquetas están en píxeles sin datos y no cuentan</translation>
    </message>
    <message>
        <source>{count} of {total} labels have no class and do not count</source>
        <translation>{count} de {total} etiquetas no tienen clase y no cuentan</translation>
    </message>
    <message>
        <source>an encoder is needed for these features, and none is given</source>
        <translation>estas características necesitan un codificador, y no se ha dado ninguno</translation>
    </message>
    <message>
        <source>the place {x:.10g}, {y:.10g} lies on no data of it</source>
        <translation>el lugar {x:.10g}, {y:.10g} no está sobre datos suyos</translation>
    </message>
    <message>
        <source>There is not enough memory.</source>
        <translation>No hay memoria suficiente.</translation>
    </message>
    <message>
        <source>A file cannot be read or written ({error}).</source>
        <translation>No se puede leer o escribir un archivo ({error}).</translation>
    </message>
    <message>
        <source>GeoAware: {layer}</source>
        <translation>GeoAware: {layer}</translation>
    </message>
    <message>
        <source>Most similar places</source>
        <translation>Lugares más parecidos</translation>
    </message>
    <message>
        <source>Confidence (%)</source>
        <translation>Confianza (%)</translation>
    </message>
    <message>
        <source>Unlike anything labelled</source>
        <translation>Distinto de todo lo etiquetado</translation>
    </message>
    <message>
        <source>Similarity (%)</source>
        <translation>Similitud (%)</translation>
    </message>
    <message>
        <source>Suggest ten places</source>
        <translation>Sugerir diez lugares</translation>
    </message>
    <message>
        <source>Previous</source>
        <translation>Anterior</translation>
    </message>
    <message>
        <source>Next</source>
        <translation>Siguiente</translation>
    </message>
    <message>
        <source>Skip</source>
        <translation>Omitir</translation>
    </message>
    <message>
        <source>Looking for places…</source>
        <translation>Buscando lugares…</translation>
    </message>
    <message>
        <source>Place {number} of {count}: perhaps {name} ({share} %). What is it?</source>
        <translation>Lugar {number} de {count}: quizá {name} ({share} %). ¿Qué es?</translation>
    </message>
    <message>
        <source>Ten places that are uncertain, different, and unlike what is labelled.</source>
        <translation>Diez lugares inciertos, diferentes y distintos de lo etiquetado.</translation>
    </message>
    <message>
        <source>Label at least two classes first.</source>
        <translation>Etiquete primero al menos dos clases.</translation>
    </message>
    <message>
        <source>Labels the place as {name}</source>
        <translation>Etiqueta el lugar como {name}</translation>
    </message>
    <message>
        <source>Looking at the layer…</source>
        <translation>Examinando la capa…</translation>
    </message>
    <message>
        <source>The map shows no part of the layer.</source>
        <translation>El mapa no muestra ninguna parte de la capa.</translation>
    </message>
    <message>
        <source>There are no features yet: wait a moment.</source>
        <translation>Aún no hay características: espere un momento.</translation>
    </message>
    <message>
        <source>The layer has not been opened.</source>
        <translation>La capa no se ha abierto.</translation>
    </message>
    <message>
        <source>Hatch what is unlike anything labelled</source>
        <translation>Rayar lo que es distinto de todo lo etiquetado</translation>
    </message>
    <message>
        <source>Labelled as (down) and mapped as (across), in polygons:</source>
        <translation>Etiquetado como (hacia abajo) y clasificado como (hacia la derecha), en polígonos:</translation>
    </message>
    <message>
        <source>The accuracy is not known: label a second polygon of each class, away from the first.</source>
        <translation>La exactitud no se conoce: etiquete un segundo polígono de cada clase, lejos del primero.</translation>
    </message>
    <message>
        <source>Accuracy {share} % (95 % interval {low} to {high} %), at {count} polygons that were left out {how}.</source>
        <translation>Exactitud {share} % (intervalo del 95 %: de {low} a {high} %), en {count} polígonos que se dejaron fuera {how}.</translation>
    </message>
    <message>
        <source>in {count} spatial blocks</source>
        <translation>en {count} bloques espaciales</translation>
    </message>
    <message>
        <source>one by one</source>
        <translation>uno a uno</translation>
    </message>
    <message>
        <source>F1 (%)</source>
        <translation>F1 (%)</translation>
    </message>
    <message>
        <source>95 % int.</source>
        <translation>Int. 95 %</translation>
    </message>
    <message>
        <source>{low} to {high}</source>
        <translation>de {low} a {high}</translation>
    </message>
    <message>
        <source>{share} % of the polygons labelled {name} are mapped as {other}.</source>
        <translation>El {share} % de los polígonos etiquetados como {name} se clasifican como {other}.</translation>
    </message>
    <message>
        <source>Label at least two classes, two polygons each, to see how good the map is.</source>
        <translation>Etiquete al menos dos clases, con dos polígonos cada una, para ver la calidad del mapa.</translation>
    </message>
    <message>
        <source>{share} % of the view is unlike anything labelled: the map cannot be trusted there.</source>
        <translation>El {share} % de la vista es distinto de todo lo etiquetado: ahí el mapa no es fiable.</translation>
    </message>
    <message>
        <source>Examples</source>
        <translation>Ejemplos</translation>
    </message>
    <message>
        <source>Counter-examples</source>
        <translation>Contraejemplos</translation>
    </message>
    <message>
        <source>Clear</source>
        <translation>Borrar</translation>
    </message>
    <message>
        <source>Click places on the map that show what you look for</source>
        <translation>Haga clic en lugares del mapa que muestren lo que busca</translation>
    </message>
    <message>
        <source>Click places that are found but are something else</source>
        <translation>Haga clic en lugares encontrados que son otra cosa</translation>
    </message>
    <message>
        <source>Click one or more examples of what you look for.</source>
        <translation>Haga clic en uno o más ejemplos de lo que busca.</translation>
    </message>
    <message>
        <source>Comparing the layer with {examples} examples and {others} counter-examples…</source>
        <translation>Comparando la capa con {examples} ejemplos y {others} contraejemplos…</translation>
    </message>
    <message>
        <source>The {count} best places of the layer so far; click one to see it.</source>
        <translation>Los {count} mejores lugares de la capa hasta ahora; haga clic en uno para verlo.</translation>
    </message>
    <message>
        <source>The {count} best places of the layer; click one to see it.</source>
        <translation>Los {count} mejores lugares de la capa; haga clic en uno para verlo.</translation>
    </message>
    <message>
        <source>Where next?</source>
        <translation>¿Dónde seguir?</translation>
    </message>
    <message>
        <source>How good is it?</source>
        <translation>¿Qué tan bueno es?</translation>
    </message>
    <message>
        <source>Find similar</source>
        <translation>Buscar parecidos</translation>
    </message>
    <message>
        <source>Opening the layer…</source>
        <translation>Abriendo la capa…</translation>
    </message>
    <message>
        <source>Features of the view: {done} of {total} tiles</source>
        <translation>Características de la vista: {done} de {total} teselas</translation>
    </message>
    <message>
        <source>Label at least two classes to see a map.</source>
        <translation>Etiquete al menos dos clases para ver un mapa.</translation>
    </message>
    <message>
        <source>GeoTIFF files (*.tif)</source>
        <translation>Archivos GeoTIFF (*.tif)</translation>
    </message>
    <message>
        <source>Map the layer</source>
        <translation>Cartografiar la capa</translation>
    </message>
    <message>
        <source>name of the model</source>
        <translation>nombre del modelo</translation>
    </message>
    <message>
        <source>Save as model</source>
        <translation>Guardar como modelo</translation>
    </message>
    <message>
        <source>Map</source>
        <translation>Mapa</translation>
    </message>
    <message>
        <source>labels</source>
        <translation>etiquetas</translation>
    </message>
    <message>
        <source>{title} is in the queue of runs.</source>
        <translation>{title} está en la cola de ejecuciones.</translation>
    </message>
    <message>
        <source>The library has a model named '{name}' already: choose another name.</source>
        <translation>La biblioteca ya tiene un modelo llamado «{name}»: elija otro nombre.</translation>
    </message>
    <message>
        <source>The model cannot be saved ({error}).</source>
        <translation>No se puede guardar el modelo ({error}).</translation>
    </message>
    <message>
        <source>Find similar places</source>
        <translation>Buscar lugares similares</translation>
    </message>
    <message>
        <source>Compares every place of a raster layer with examples, and with counter-examples if there are any, by its features.

Similarity: 1 at the examples, 0 at counter-examples and at whatever is unrelated; one pixel per place of the features.

Best places: up to a hundred points, apart from each other, with rank and score.</source>
        <translation>Compara cada lugar de una capa ráster con ejemplos, y con contraejemplos si los hay, por sus características.

Similitud: 1 en los ejemplos, 0 en los contraejemplos y en todo lo que no guarda relación; un píxel por lugar de las características.

Mejores lugares: hasta cien puntos, separados entre sí, con rango y puntuación.</translation>
    </message>
    <message>
        <source>The layer that is searched.</source>
        <translation>La capa en la que se busca.</translation>
    </message>
    <message>
        <source>Points, or polygons of which a place inside is taken, in any CRS; all or the selected ones.</source>
        <translation>Puntos, o polígonos de los que se toma un lugar interior, en cualquier SRC; todos o los seleccionados.</translation>
    </message>
    <message>
        <source>Places that look similar but are not what is searched.</source>
        <translation>Lugares que se parecen pero no son lo que se busca.</translation>
    </message>
    <message>
        <source>Only inside all or the selected polygons of a layer, in any CRS.</source>
        <translation>Solo dentro de todos los polígonos de una capa o de los seleccionados, en cualquier SRC.</translation>
    </message>
    <message>
        <source>Similarity</source>
        <translation>Similitud</translation>
    </message>
    <message>
        <source>32-bit float, 0 to 1.</source>
        <translation>Coma flotante de 32 bits, de 0 a 1.</translation>
    </message>
    <message>
        <source>Best places</source>
        <translation>Mejores lugares</translation>
    </message>
    <message>
        <source>GeoPackage of points with rank and score.</source>
        <translation>GeoPackage de puntos con rango y puntuación.</translation>
    </message>
    <message>
        <source>best places</source>
        <translation>mejores lugares</translation>
    </message>
    <message>
        <source>similarity</source>
        <translation>similitud</translation>
    </message>
    <message>
        <source>Number of best places</source>
        <translation>Número de mejores lugares</translation>
    </message>
    <message>
        <source>encoder: those of a model; texture: mean, contrast and texture of the bands at several scales, without a model; both; raster: the bands themselves, of a layer that holds features. auto: the encoder if one is chosen, else the bands where they are known to be features (AlphaEarth, TESSERA, 'Embed raster layer'), else texture.</source>
        <translation>encoder: las de un modelo; texture: media, contraste y textura de las bandas a varias escalas, sin modelo; both: ambas; raster: las propias bandas, de una capa que contiene características. auto: el codificador si se elige uno; si no, las bandas cuando se sabe que son características (AlphaEarth, TESSERA, «Extraer características de una capa ráster»); si no, texture.</translation>
    </message>
    <message>
        <source>Folder for features</source>
        <translation>Carpeta para las características</translation>
    </message>
    <message>
        <source>Features are kept there for the next run; empty: in the profile.</source>
        <translation>Las características se guardan ahí para la próxima ejecución; vacío: en el perfil.</translation>
    </message>
    <message>
        <source>No raster layer is chosen.</source>
        <translation>No se ha elegido ninguna capa ráster.</translation>
    </message>
    <message>
        <source>Fit a model to labels</source>
        <translation>Ajustar un modelo a etiquetas</translation>
    </message>
    <message>
        <source>Makes a segmentation model from a few labelled polygons or points, and the map of the first layer if it is wanted.

Every polygon weighs the same, however large it is.

Model: features and classifier in one ONNX file with its card. It runs in 'Segment raster layer', in export.predict and in Deepness.

Report: accuracy and F1 of each class with 95 % intervals. Whole polygons are left out in turn, so no pixel is judged by others of its own polygon.</source>
        <translation>Crea un modelo de segmentación a partir de unos pocos polígonos o puntos etiquetados y, si se desea, el mapa de la primera capa.

Cada polígono pesa lo mismo, sea cual sea su tamaño.

Modelo: características y clasificador en un solo archivo ONNX con su ficha. Funciona en «Segmentar capa ráster», en export.predict y en Deepness.

Informe: exactitud y F1 de cada clase con intervalos del 95 %. Se dejan fuera polígonos enteros por turnos, así que ningún píxel se juzga con otros de su propio polígono.</translation>
    </message>
    <message>
        <source>Raster layers</source>
        <translation>Capas ráster</translation>
    </message>
    <message>
        <source>Layers with the same bands. The first one is mapped.</source>
        <translation>Capas con las mismas bandas. Se cartografía la primera.</translation>
    </message>
    <message>
        <source>Layers of polygons or points, in any CRS.</source>
        <translation>Capas de polígonos o puntos, en cualquier SRC.</translation>
    </message>
    <message>
        <source>Names or values of classes. Labels without one are left out.</source>
        <translation>Nombres o valores de clases. Las etiquetas sin clase no se usan.</translation>
    </message>
    <message>
        <source>Map only this part of the first layer, in any CRS.</source>
        <translation>Cartografiar solo esta parte de la primera capa, en cualquier SRC.</translation>
    </message>
    <message>
        <source>Map only inside all or the selected polygons of a layer, in any CRS.</source>
        <translation>Cartografiar solo dentro de todos los polígonos de una capa o de los seleccionados, en cualquier SRC.</translation>
    </message>
    <message>
        <source>One ONNX file.</source>
        <translation>Un archivo ONNX.</translation>
    </message>
    <message>
        <source>HTML page: how good the model is, and what it was made from.</source>
        <translation>Página HTML: cómo de bueno es el modelo y con qué se hizo.</translation>
    </message>
    <message>
        <source>Map of the first layer.</source>
        <translation>Mapa de la primera capa.</translation>
    </message>
    <message>
        <source>No label layer is chosen.</source>
        <translation>No se ha elegido ninguna capa de etiquetas.</translation>
    </message>
    <message>
        <source>Map and model</source>
        <translation>Mapa y modelo</translation>
    </message>
    <message>
        <source>Names or numbers from 1, separated by commas; empty: those that the encoder needs, else all.</source>
        <translation>Nombres o números desde 1, separados por comas; vacío: las que necesita el codificador; si no, todas.</translation>
    </message>
    <message>
        <source>dates</source>
        <translation>fechas</translation>
    </message>
    <message>
        <source>Dates</source>
        <translation>Fechas</translation>
    </message>
    <message>
        <source>Date</source>
        <translation>Fecha</translation>
    </message>
    <message>
        <source>No data</source>
        <translation>Sin datos</translation>
    </message>
    <message>
        <source>Masked</source>
        <translation>Enmascarado</translation>
    </message>
    <message>
        <source>Tick layers like it</source>
        <translation>Marcar las capas parecidas</translation>
    </message>
    <message>
        <source>All layers with as many bands that overlap the chosen one and have a date.</source>
        <translation>Todas las capas con el mismo número de bandas que coinciden en parte con la elegida y tienen fecha.</translation>
    </message>
    <message>
        <source>Only the chosen layer</source>
        <translation>Solo la capa elegida</translation>
    </message>
    <message>
        <source>Mask band</source>
        <translation>Banda de máscara</translation>
    </message>
    <message>
        <source>none: all pixels with data are used</source>
        <translation>ninguna: se usan todos los píxeles con datos</translation>
    </message>
    <message>
        <source>No date is known of {names}: type it under Dates, or set it in the layer's temporal properties.</source>
        <translation>No se conoce la fecha de {names}: escríbala en Fechas o indíquela en las propiedades temporales de la capa.</translation>
    </message>
    <message>
        <source>two layers of one date</source>
        <translation>dos capas de una misma fecha</translation>
    </message>
    <message>
        <source>unknown</source>
        <translation>desconocida</translation>
    </message>
    <message>
        <source>typed</source>
        <translation>escrita</translation>
    </message>
    <message>
        <source>no date</source>
        <translation>sin fecha</translation>
    </message>
    <message>
        <source>no data {share} %</source>
        <translation>sin datos {share} %</translation>
    </message>
    <message>
        <source>masked {share} %</source>
        <translation>enmascarado {share} %</translation>
    </message>
    <message>
        <source>Dates of the series</source>
        <translation>Fechas de la serie</translation>
    </message>
    <message>
        <source>temporal properties of the layer</source>
        <translation>propiedades temporales de la capa</translation>
    </message>
    <message>
        <source>name</source>
        <translation>nombre</translation>
    </message>
    <message>
        <source>the model '{name}' is a {task} model, which reads one date at a time</source>
        <translation>el modelo «{name}» es un modelo de {task}, que lee una fecha cada vez</translation>
    </message>
    <message>
        <source>lies apart from the rasters of all other dates: leave it out</source>
        <translation>está fuera de los rásteres de todas las demás fechas: exclúyalo</translation>
    </message>
    <message>
        <source>parts of it have no place in {crs}, the CRS of the series</source>
        <translation>partes de él no tienen lugar en {crs}, el SRC de la serie</translation>
    </message>
    <message>
        <source>{note} (and {count} more of the series alike)</source>
        <translation>{note} (e igual en {count} más de la serie)</translation>
    </message>
    <message>
        <source>{count} of {total} rasters of the series lie on another grid ({names}): warped to that of the others, {crs}</source>
        <translation>{count} de {total} rásteres de la serie tienen otra malla ({names}): se remuestrean a la de los demás, {crs}</translation>
    </message>
    <message>
        <source>{share:.0%} of it hold no data at any date: no data in the map either</source>
        <translation>{share:.0%} de ella no tiene datos en ninguna fecha: tampoco en el mapa</translation>
    </message>
    <message>
        <source>the values of the series are not taken for the same in all rasters ({names}): state what they are</source>
        <translation>los valores de la serie no se toman por lo mismo en todos los rásteres ({names}): indique qué son</translation>
    </message>
    <message>
        <source>'{name}' is no raster layer.</source>
        <translation>«{name}» no es una capa ráster.</translation>
    </message>
    <message>
        <source>'{parameter}' needs a mask band.</source>
        <translation>«{parameter}» necesita una banda de máscara.</translation>
    </message>
    <message>
        <source>'{text}' is no date like 2024-06-30.</source>
        <translation>«{text}» no es una fecha como 2024-06-30.</translation>
    </message>
    <message>
        <source>Band of each layer that says where it shows clouds: scl (Sentinel-2), qa_pixel (Landsat), s2cloudless, or the name or number of another band together with its values to drop.</source>
        <translation>Banda de cada capa que indica dónde muestra nubes: scl (Sentinel-2), qa_pixel (Landsat), s2cloudless, o el nombre o número de otra banda junto con los valores que se descartan.</translation>
    </message>
    <message>
        <source>Dates (empty: from the layers)</source>
        <translation>Fechas (vacío: las de las capas)</translation>
    </message>
    <message>
        <source>Days such as 2024-06-30, that of the first layer before those of the others, separated by semicolons; a place left empty, and all if this is: from the layer's temporal properties, its name, or its metadata.</source>
        <translation>Días como 2024-06-30, el de la primera capa antes que los de las demás, separados por punto y coma; un lugar vacío, o todos si no se indica nada: de las propiedades temporales de la capa, de su nombre o de sus metadatos.</translation>
    </message>
    <message>
        <source>GeoAware: looking at the dates</source>
        <translation>GeoAware: examinando las fechas</translation>
    </message>
    <message>
        <source>How many dates hold data at each pixel; only of a series.</source>
        <translation>Cuántas fechas tienen datos en cada píxel; solo de una serie.</translation>
    </message>
    <message>
        <source>Layers of other dates</source>
        <translation>Capas de otras fechas</translation>
    </message>
    <message>
        <source>Layers of the same place at other dates: with the first layer they are a series. Their extent, pixel size and CRS may differ. A model that reads one date is run on each, and its probabilities are averaged.</source>
        <translation>Capas del mismo lugar en otras fechas: junto con la primera capa son una serie. Su extensión, tamaño de píxel y SRC pueden diferir. Un modelo que lee una fecha se ejecuta con cada una y se promedian sus probabilidades.</translation>
    </message>
    <message>
        <source>Mask values</source>
        <translation>Valores de máscara</translation>
    </message>
    <message>
        <source>Number of dates</source>
        <translation>Número de fechas</translation>
    </message>
    <message>
        <source>number of dates</source>
        <translation>número de fechas</translation>
    </message>
    <message>
        <source>The layer '{name}' has no pixels of its own: a series takes files, or services that have pixels.</source>
        <translation>La capa «{name}» no tiene píxeles propios: una serie admite archivos, o servicios que tengan píxeles.</translation>
    </message>
    <message>
        <source>The model '{name}' reads a series of dates: name the layers of the other dates in '{parameter}'.</source>
        <translation>El modelo «{name}» lee una serie de fechas: indique las capas de las otras fechas en «{parameter}».</translation>
    </message>
    <message>
        <source>The model reads one date: it is run on each of the {count} dates, and the probabilities are averaged.</source>
        <translation>El modelo lee una fecha: se ejecuta con cada una de las {count} fechas y se promedian las probabilidades.</translation>
    </message>
    <message>
        <source>Values, ranges (8-10) and bits (bit3) that hide a pixel, separated by commas; empty: those of the preset.</source>
        <translation>Valores, intervalos (8-10) y bits (bit3) que ocultan un píxel, separados por comas; vacío: los predeterminados de la banda.</translation>
    </message>
    <message>
        <source>{dates} dates are given for {layers} layers: give one for each, the first layer's first.</source>
        <translation>Se indican {dates} fechas para {layers} capas: indique una por capa, primero la de la primera.</translation>
    </message>
    <message>
        <source>{problem}; set it in the layer's temporal properties or in '{parameter}'</source>
        <translation>{problem}; indíquela en las propiedades temporales de la capa o en «{parameter}»</translation>
    </message>
    <message>
        <source>any number; it learned from series of {count}</source>
        <translation>cualquier número; aprendió de series de {count}</translation>
    </message>
</context>
</TS>

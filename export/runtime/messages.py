"""Everything that the runtime tells a user, as data: a kind, its facts, and one English sentence per kind.

No sentence names a command-line flag or a widget. A host appends its own remedy: the command line with its flags
(``export/wording.py``), QGIS with its parameters' names and languages (``qgis_plugin/texts.py``).
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .amounts import duration_text, size_text

# The field ``where``, if given, names the file or layer: it precedes the sentence. ``:size`` formats bytes, ``:duration`` seconds.
MESSAGES: dict[str, str] = {
    "cancelled": "cancelled",
    "worded": "{sentence}",  # by the host itself
    # files
    "no_such_file": "no such file",
    "not_readable": "cannot be read ({reason})",
    "not_writable": "cannot be written to ({reason})",
    # the ONNX file
    "not_onnx": "not an ONNX file, or a corrupt one ({reason})",
    "model_size": "{size} bytes cannot be an ONNX model (16 bytes to 2 GB)",
    "foreign_operator": "refused, it needs operators of the domain '{domain}', which this runtime does not trust",
    "nested_graphs": "refused, its graphs are nested more than {limit} deep",
    "precompiled_node": "refused, it holds a precompiled EPContext node",
    "external_weights": "refused, its weights are in another file; bring them into one file",
    "image_input": "needs exactly one image input of 4 dimensions (batch, bands, rows, columns), found {inputs}",
    "series_inputs": (
        "a model of many dates must take pixels (dates, bands, rows, columns), valid (dates, rows, columns) and day_of_year "
        "(dates), and may take longitude and latitude (rows, columns), with a free number of dates and rows = columns; "
        "found {inputs}"
    ),
    "series_card": "its inputs are {inputs}, which does not fit dates: {dates} and location: {location} of its card (0: a model of one date)",
    "input_type": "its input has an element type that no raster has",
    "input_shape": "its input is {shape}, but its card says {expected}",
    "batch_too_large": "refused, it takes {count} tiles at once (limit {limit})",
    "no_output": "has no output",
    "no_such_output": "has no output '{output}'; it has {outputs}",
    "empty_output": "its output is empty",
    "output_shape": "its output has the shape {shape}, which does not fit a {task} model",
    "output_rows": "its output has {rows} rows for a tile of {tile}: neither an integer fraction of it, nor the tile without a border",
    "border": "its card leaves out {border} px at each edge, which does not fit its output of {rows} rows for a tile of {tile}",
    "output_classes": "it answers with {channels} channels, but its card names {classes} classes",
    "output_too_large": "refused, its output for one tile would take {size:size}",
    "detection_outputs": "a detection model needs three outputs: boxes, scores, labels",
    "detection_answer": "the model '{name}' answers with something else than boxes, scores and labels",
    "detection_class": "the model '{name}' answers with a class that its card does not name",
    "detection_tile": "is a detection model, which answers for one tile at a time",
    "output_changed": "answers with the shape {shape}, before with {before}",
    "not_numbers": "answers with something else than numbers",
    "unknown_class": "answers with the class {value}, which its card does not name",
    "tile_size": "does not run on tiles of {side} px, the tile_size of its card ({reason})",
    "no_tile_size": "runs on tiles of none of the usual sizes ({reason}); state its tile_size in its card",
    "loop_too_long": "stopped, it loops for more than {seconds:g} s over one tile",
    "tile_memory": "needs more memory for {count} x {side} px than is free ({free:size})",
    "model_memory": "needs more memory than is free ({free:size})",
    # graphs that are built on another one
    "graph_opset": "its operators are those of opset {opset}, and a model is built on {least} or later: export it again with a newer one",
    "graph_functions": "it holds functions, on which no model is built: export it without them",
    "graph_trees": "it uses operators of ai.onnx.ml {opset}, which has none of the trees that are added: export it with version 3",
    "card_beside": "the card {card} beside it would count instead of its own; remove that file, or choose another name",
    # onnxruntime
    "onnxruntime_old": "onnxruntime {version} is unsafe with files from others; install {needed} or newer",
    "onnxruntime_failed": "onnxruntime failed: {reason}",
    "onnxruntime_open": "onnxruntime cannot open it on {provider}: {reason}",
    "no_provider": "this onnxruntime has no {provider}; it has {available}",
    "provider_fell_back": "{provider} did not start; onnxruntime fell back to {other}",
    "no_onnxruntime": "onnxruntime cannot be used: {reason}",
    "plugin_failed": "does not load: {reason}",
    "no_device": "finds no device on this computer that it runs models on",
    "for_any": "CPUs; needed for all models",
    "for_intel": "CPUs, GPUs and NPUs of Intel, CPUs of others",
    "for_gpus": "GPUs of any make, through Vulkan, Direct3D 12 or Metal",
    "for_nvidia": "GPUs of NVIDIA from the RTX series on",
    "for_qualcomm": "NPUs of Qualcomm",
    "no_openvino": "OpenVINO is not there; install the package openvino",
    "openvino_start": "OpenVINO does not start: {reason}",
    "openvino_failed": "OpenVINO failed: {reason}",
    "trial_chosen": "{runner} runs it: {ratio:.1f} x onnxruntime on the CPU, {found}",
    "trial_kept": "onnxruntime on the CPU runs it: nothing else was faster on sample tiles and gave the same answers",
    "trial_apart": "{runner} is not used: {found}",
    "trial_failed": "{runner} is not used: {reason}",
    "agreement_classes": "{equal:.2%} of the pixels equal on {count} sample tiles, 99% of the confidences up to {apart:.2%} apart",
    "agreement_boxes": "{equal:.2%} of the boxes found by both on {count} sample tiles, 99% of the scores up to {apart:.2%} apart",
    "agreement_values": "99% of the values differ by up to {apart:.2%} of their spread on {count} sample tiles",
    "agreement_features": "99% of the feature vectors have a cosine similarity of {cosine:.5f} or more on {count} sample tiles",
    "trial_sides": "onnxruntime on the CPU runs it: on the two dates the trials gave different answers",
    "trial_before": "{runner} runs it, as it ran the blocks that are there",
    "trial_gone": "{runner}, which ran the blocks that are there, is not on this computer now: the others may differ slightly",
    "trial_alone": "onnxruntime on the CPU runs it: no other provider is installed (python -m export.devices lists what there is)",
    "trial_service": "onnxruntime on the CPU runs it: others are not tried on services",
    "trial_short": "onnxruntime on the CPU runs it: {count} tiles are too few to try others, from {least} on they are",
    "trial_boxes": "onnxruntime on the CPU runs it: {count} boxes on {tiles} sample tiles are too few to compare others by, {least} are needed",
    "trial_empty": "onnxruntime on the CPU runs it: {count} tiles with data were found to try others on, {needed} are needed",
    "openvino_loops": "has loops, which OpenVINO does not stop in time; run it on the CPU provider",
    "unknown_precision": "the precision '{precision}' is none of {known}",
    "no_precision": "{provider} calculates in fp32 only; '{precision}' runs on OpenVINO or TensorRT",
    # the model card
    "no_card": "has no model card; describe it in a file {card} beside it (task, bands, value_range, classes)",
    "bad_card": "the model card is not valid ({reason})",
    "card_nested": "it is nested too deeply",
    "card_no_object": "not a JSON object",
    "card_no_classes": "no classes",
    "card_lacks": "it must also give: {keys}",
    "card_unknown_key": "'{key}' is unknown; known are {known}",
    "card_task": "the task '{task}' is none of {known}",
    "card_activation": "the activation '{activation}' is none of {known}",
    "card_fill": "one fill value per band is needed",
    "card_value_range": "value_range must be the lowest and the highest value, in this order, not {low:g} and {high:g}",
    "card_scale_length": "one mean and one std per band are needed",
    "card_scale_zero": "mean and std go together, and none of divisor and std may be 0",
    "card_class_values": "class values must differ and lie within 0 to 65534",
    "card_classes": "classes must be a list, or an object that maps class values to names",
    "card_color": "'{color}' is not a colour like 1C6330",
    "card_overlap": "the overlap must be smaller than the tile",
    "card_border": "a border needs an overlap of twice its size, and a model of the task segmentation, regression or embedding",
    "card_dates": "dates must be 0 to {limit}, and go with segmentation or classification only; a location goes with dates",
    "card_gsd": "the pixel size must be more than 0 and at most {limit:,} metres, not {gsd:g}",
    "deepness_type": "is a Deepness model of the type '{type}'; Segmentor, Regressor and Recognition run",
    "deepness_bands": "does not give its number of bands; name them in {card}",
    "deepness_names": "{text} cannot be read as names of classes",
    # model and task
    "wrong_task": "the model '{name}' is a {task} model; a {needed} model is needed",
    "needs_series": "the model '{name}' reads a series of dates, not a single raster",
    "needs_one_date": "the model '{name}' reads a single date, not a series",
    "needs_location": "the model '{name}' also needs the longitude and latitude of each pixel",
    "answers_once": "the model '{name}' is a {task} model, which answers once per tile",
    "no_windows": "the model '{name}' is a {task} model, which has no sliding window",
    "bad_overlap": "an overlap of {overlap} px does not fit tiles of {tile} px",
    "fixed_overlap": "its tiles overlap by {overlap} px, of which {border} px at each edge are left out: no other overlap fits",
    "bad_stride": "a stride of {stride} px does not fit windows of {tile} px: 1 to {tile}",
    "bad_start": "a part of the raster must begin at a multiple of {unit} px",
    # bands of the raster
    "bands_given": "{count} bands are given, but the model needs {needed} ({bands})",
    "no_such_band": "has no band '{band}'; it has {bands}",
    "too_few_bands": "has {count} bands, but the model needs {needed} ({bands})",
    "bands_in_order": "its bands are {own}, the model's {bands}; they are taken in their order",
    "bands_unnamed": "its bands have no names: taken in their order, {pairs}",
    "bands_by_number": "band numbers are taken as those of {sensors}: {pairs}",
    "bands_by_wavelength": "its bands are chosen by their wavelengths: {pairs}",
    "bands_by_rest": "its bands are matched by name, and the one that is left is taken for the one that is missing: {pairs}",
    "bands_ambiguous": "its bands are {own}, which {sensors} number differently; name the bands to be read",
    "band_twice": "its bands {numbers} could all be the model's {band}; name the bands to be read",
    "other_bands": "its bands are {own}, which are not the model's {bands}; name the bands to be read",
    "first_bands": "has {count} bands that are not named as the model's: taken as {pairs}",
    "no_alpha": "its band {band} is called alpha but holds more than transparent and opaque: taken for data, not for a mask",
    # values of the raster
    "no_unit": "the model '{name}' learned from '{unit}', to which Sentinel-2 values cannot be converted",
    "no_nodata": "{share:.0%} of it is {value:g} in every band and no nodata value is declared",
    "nodata_in_some": "{share:.0%} of it holds its nodata value in some bands and not in all: taken for gaps",
    "values_high": "its values reach {most:.4g}, the model learned from {low:g} to {high:g} ({unit}): taken as they are",
    "values_maybe_sentinel2": (
        "its values reach {most:.4g}, the model learned from {low:g} to {high:g} ({unit}): taken as they are"
    ),
    "input_clipped": "the model takes whole numbers from {low:g} to {high:g}: others are rounded, and what is beyond counts as these",
    "values_low": "its values go down to {least:.4g}, the model learned from {low:g} to {high:g} ({unit}): taken as they are",
    "taken_for_sentinel2": "its values reach {most:g}: taken for Sentinel-2 bands as delivered",
    "taken_for_true_colour": "taken for Sentinel-2's true colour by its name",
    "read_as_true_colour": "read as {input}, true colour",
    "scales_differ": "its bands state different scales ({scales}); bring them to one first",
    "offsets_differ": "its bands state different offsets ({offsets}), so which one is meant is unclear",
    "offset_not_added": "states an offset of its values ({offsets}), which is not added to them: taken as they are stored",
    "offset_stated": "read as {input}, offset {offset:+g} (as stated)",
    "real_reflectance": "read as {input}, x 10000 (its values are real numbers up to {most:.3g}: taken for reflectance itself)",
    "scale_stated": "read as {input}, stored value x {factor:.6g} {offset:+g} (as stated)",
    "offset_of_baseline": "read as {input}, offset {offset:+g} (processing baseline {baseline})",
    "offset_by_dark_pixels": (
        "read as {input}, offset {offset:+g} (no baseline found, but dark pixels hold {darkest:.0f}: nothing was added to them)"
    ),
    "offset_assumed": "read as {input}, offset {offset:+g} (no baseline found: taken for 04.00 or later)",
    # dates of a series, and what hides pixels of it
    "no_date": "its name holds no date",
    "no_date_but_years": "its name holds no date; {years} may be a year or another number",
    "no_date_of_form": "its name holds no date of the form {form}",
    "several_dates": "its name holds more than one date",
    "several_dates_of_form": "its name holds more than one date of the form {form}",
    "no_dates_table": "needs the columns file and date, with dates like 2024-06-30 ({reason})",
    "dates_unread": "cannot be read ({reason}): name a CSV with the columns file and date, or write dates like 2024-06-30",
    "several_rows": "the table of dates gives it more than one ({dates}): keep one row of it",
    "mask_values": "'{text}' is no value that a mask band can hold; write values like 3, ranges like 8-10 and bits like bit3",
    "mask_unknown": "'{name}' says nothing of the values to drop; state them, or take one of {known}",
    "mask_beyond": "its mask band {name} holds {value:g}, which is beyond {low:g} to {high:g}: it is no such band",
    "mask_mixed": "its mask band {name} holds {value:g}: classes and bits are whole numbers, so it was interpolated",
    "mask_missing": "has no mask band '{name}' (its bands are {bands})",
    "mask_apart": "lies apart from {other}, whose mask it is to be",
    "gaps_of_mask_band": "{values} in the mask band {name}",
    "same_day": "is of {date}, as is {other}, and both show the same area: leave one of them out",
    "date_of_file": "dated {date} by its {tag}, which may be when the file was made",
    "dates_differ": "its name says {date}, but {how} says {other}: the date of its name is taken",
    "no_dates": "no raster is given",
    "read_differently": "the values of the series are not taken for the same in all rasters ({names}): state what they are",
    "never_seen": "{share:.0%} of it hold no data at any date: no data in the map either",
    "no_series": "the model '{name}' is a {task} model, which reads one date at a time",
    "lies_apart": "lies apart from the rasters of all other dates: leave it out",
    "not_on_grid": "parts of it have no place in {crs}, the CRS of the series",
    "also_of_others": "{note} (and {count} more of the series alike)",
    "warped_to_series": "{count} of {total} rasters of the series lie on another grid ({names}): warped to that of the others, {crs}",
    # grid and area
    "bad_coordinates": "its coordinates are not valid",
    "resampled": "its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: resampled on the way in",
    "resampled_from_overviews": (
        "its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: resampled on the way in, "
        "from its overviews of {overview:.4g} m"
    ),
    "not_resampled": "its pixels are {pixel:.4g} m, the model learned from {model:.4g} m: fed as they are",
    "area_distortion": "areas are measured in its projection, which shows {times:.3g} times the true area at its middle",
    "bounds_order": "the bounds {west:g} {south:g} {east:g} {north:g} must be west, south, east, north",
    "bounds_apart": "the bounds lie at both ends of it, and polygons are given too: map each end alone",
    "bounds_outside": "the bounds lie outside it (it covers {extent}): nothing to map",
    "mask_outside": "no pixel lies in the polygons (it covers {extent}): the map holds no data",
    "too_wide": "{width} px are too wide: {needed:size} of memory are needed and {free:size} are free; map it in parts",
    # features
    "holds_alphaearth": "holds AlphaEarth embeddings, {count} bands of 8 bits: read by their published rule",
    "holds_alphaearth_real": "holds AlphaEarth embeddings as real numbers: taken as they are",
    "holds_tessera": "holds TESSERA embeddings as real numbers: taken as they are",
    "holds_tessera_scaled": "holds TESSERA embeddings, 128 bands and the scale of each pixel, by which they are multiplied",
    "holds_tessera_bytes": (
        "holds TESSERA embeddings of 8 bits without the scale of each pixel: only their direction is used; "
        "with the scale as band 129 both are"
    ),
    "holds_embedding": "holds {count} features, as embedding a raster writes them",
    "holds_features": "is not known to hold features: its {count} bands are taken for features as they are",
    "features_of_model": "{count} features of the model '{name}'",
    "features_of_task": "the model '{name}' is a {task} model; features need an embedding model whose answer is a map, or bands and texture",
    "features_once": "the model '{name}' answers once per tile; features need an embedding model whose answer is a map, or bands and texture",
    "features_tile": "its tiles of {tile} px are no multiple of {step} px, or too small: features cannot be computed with it so",
    "features_small_tile": "its tiles of {tile} px are too small for a border of {border} px",
    "features_no_data": "holds no data where features could be learned",
    "features_not_finite": "the features of '{name}' are no finite numbers",
    "layer_changed": "was changed or removed while its features were computed; start again with it as it is now",
    "cache_not_written": "features are no longer kept on the disk ({reason}); what is computed stays right",
    "cache_disk_full": (
        "the disk is full: up to {needed:size} may be needed to join the features in one file and {free:size} are free; they "
        "are kept as they are"
    ),
    # reading and writing
    "corrupt": "corrupt or truncated file: pixels from row {row}, column {column} on cannot be read ({reason})",
    "pixel_type": "its pixels are {dtype}; a model reads numbers",
    "complex": "its pixels are complex numbers: their magnitude is taken",
    "container": "holds several rasters on one grid, taken as its bands: {names}",
    "control_points": "lies on {count} control points: warped through them to a grid (nearest neighbour)",
    "rpcs": "lies on RPCs instead of a grid; warp it to one with gdalwarp -rpc",
    "same_name": "two results have this name, or their styles would have; give each a name of its own",
    "no_classes": "the model '{name}' gives values, no classes: it has no confidence, probabilities or polygons",
    "overwrites_input": "would overwrite {source}, which is read",
    "write_failed": "cannot be written ({reason})",
    "incomplete": "could not be written completely",
    "disk_full": "the disk is full: up to {needed:size} may be needed while it is made and {free:size} are free",
    # what a run will do, and why: labels, values, reasons
    "label_raster": "raster",
    "label_bands": "bands",
    "label_values": "values",
    "label_gaps": "no data",
    "label_pixel_size": "pixel size",
    "label_grid": "grid",
    "label_crs": "CRS",
    "label_tiles": "tiles",
    "label_memory": "memory",
    "label_time": "time",
    "label_files": "files",
    "raster_shape": "{rows} rows, {columns} columns, {count} bands, {dtype}",
    "bands_stated": "as stated",
    "bands_by_name": "matched by name",
    "bands_by_color": "matched by colour",
    "values_as_stored": "as stored",
    "values_changed": "stored value x {factor:.6g} {offset:+.6g}",
    "values_clipped": "cut to {low:g} to {high:g}",
    "values_stated": "as stated",
    "values_plain": "nothing says that they are in another unit",
    "values_of_model": "the model learned from {low:g} to {high:g} ({unit})",
    "gaps_unknown": "none known: every pixel counts as data",
    "gaps_in_any_band": "in any band that is read",
    "gaps_in_all_bands": "in all bands that are read",
    "gaps_of_file": "{values} {rule}, as the file declares",
    "gaps_stated": "{value:g} {rule}, as stated",
    "gaps_of_sentinel2": "{value:g} {rule}, as in Sentinel-2 products",
    "gaps_of_mask": "the mask",
    "gaps_of_alpha": "0 in band {band}, the alpha channel",
    "gaps_not_finite": "NaN and infinite values",
    "pixels_as_are": "{pixel:.4g} m, not resampled",
    "pixels_resampled": "{pixel:.4g} m, resampled to {model:.4g} m",
    "pixels_from_overviews": "from overviews of {pixel:.4g} m",
    "pixels_averaged": "bilinear, averaged to larger pixels",
    "pixels_bilinear": "bilinear",
    "pixels_back": "the map is brought back onto the raster's pixels (nearest neighbour)",
    "size_left": "resampling is switched off",
    "size_of_model": "the model learned from {model:.4g} m",
    "size_unknown": "the model does not state its pixel size",
    "grid_shape": "{rows} rows, {columns} columns, west {west}, south {south}, east {east}, north {north}",
    "grid_of_raster": "the raster's own",
    "grid_of_series": "of the CRS and pixel size of most rasters, over all of them",
    "date_empty": "{share:.0%} of the grid without data or hidden",
    "date_warped": "warped to the grid",
    "grid_of_model": "the model's pixel size",
    "grid_of_cells": "one cell for {cell} x {cell} px that the model sees",
    "grid_within_bounds": "whole pixels around the bounds",
    "grid_within_mask": "whole pixels around the polygons, what lies outside them is cut out",
    "tiles_shape": "{count} of {side} x {side} px, overlap {overlap} px",
    "tiles_touched": "{share:.0%} of them meet the polygons, the others are not read",
    "blocks_count": "in {count} blocks",
    "overlap_of_card": "by the model card",
    "overlap_stated": "as stated",
    "memory_needed": "{needed:size} for rows in work beside the model, {free:size} free",
    "time_unknown": "known after the first tiles",
    "time_expected": "about {seconds:duration}",
    "time_measured": "measured on the first tiles, {provider}, {threads} at a time",
    "run_by": "{provider}, {threads} tiles at a time",
    "room": "up to {size:size} on disk while they are made",
    # polygons
    "too_many_patches": (
        "the map is so finely divided that its polygons take {needed:size} of memory or more, and {free:size} are free; "
        "leave them out, or map smaller areas"
    ),
    "polygons_may_not_fit": (
        "its polygons would take {most:size} of memory if no two neighbouring pixels were alike, and {free:size} are free: "
        "the run stops if it comes to that"
    ),
    # change between two dates
    "change_grids": "lies on another grid than {other}",
    "change_apart": "does not overlap {other}: nothing to compare",
    "change_day": "nothing says when it was taken, which the model needs to know",
    "change_nothing": "no pixel holds data at both dates: nothing to compare",
    "change_classes": "{count} classes have too many pairs for a map (limit {limit} classes)",
    "change_independent": (
        "the classes of the model '{name}' do not exclude each other, so it gives no probability of a change from one to another"
    ),
    "change_truth": "'{text}' in '{attribute}' is neither yes or no (1 or 0) nor a class of the from-to map",
    "change_sample": (
        "{changed} changed and {kept} unchanged places of it lie on data of both dates; at least {least} of each are needed"
    ),
    "change_contradicts": "its places changed no more often where the model says so than elsewhere: it cannot calibrate anything",
    "change_not_calibrated": (
        "the change probability is not calibrated: it is the model's own and takes the errors of both dates for independent"
    ),
    "change_calibrated": (
        "the change probability is calibrated on {count} places of {sample}: mean squared error {before:.3f} before, {after:.3f} "
        "after (each place left out in turn)"
    ),
    "change_otsu": (
        "changed is what has a feature distance of {threshold:.3g} or more, by Otsu's rule, which cuts every image in two, also "
        "where nothing changed (separability {share:.2f} of 1)"
    ),
    "change_recall": (
        "changed is what has a feature distance of {threshold:.3g} or more: {recall:.0%} of the changed and {alarms:.0%} of the "
        "unchanged places of {sample}"
    ),
    "change_gaps": (
        "pixels without data: {before} lack the second date, {after} the first, {neither} both; they are left out of all areas"
    ),
    # maps of classes
    "no_class_numbers": "holds no class numbers",
    "no_data": "holds no data there",
    "place_outside": "the place lies outside",
    "no_curve": "the model '{name}' finds objects, which have no curve; choose one that maps classes, values or features",
    "no_dated_rasters": "there are no rasters with dates",
    # accuracy assessment
    "sample_accuracy": "an expected accuracy must lie between 0 and 1, and {value:g} does not",
    "sample_error": "the standard error that is aimed at must lie between 0 and 0.5, and {value:g} does not",
    "sample_numbers": "a stratum needs {least} points or more, a buffer at most {buffer} px, and a distance in metres",
    "sample_too_close": "fewer points than planned in {strata}: no more lie {distance:g} m or more from all others",
    "sample_holds_answers": "holds a sample with {count} labelled points, which would be lost",
    "no_such_class": "has no class or stratum '{text}'; it has {classes}",
    "not_a_sample": "no sample that was drawn from a map",
    "sample_locked": "another program is writing to the file",
    "sample_gone": "the file with the sample is gone",
    "sample_point_gone": "point {number} is no longer in the file",
    "sample_unlabelled": "{count} of {total} points have no class yet and do not count",
    "sample_none_labelled": "no point has a class yet",
    "strata_not_sampled": "no labelled point lies in {classes}: {share:.1%} of the area is left out of all estimates",
    "sample_outside": "no point or polygon lies on the data of the map",
    "sample_partly_outside": "{count} of {total} units lie outside the map or on nodata and do not count",
    "classes_not_sampled": "no unit lies on {classes}: {share:.1%} of the map is left out of all estimates",
    "classes_sampled_once": "one unit alone lies on {classes}: it tells next to nothing, and all limits allow for that",
    "classes_without_spread": (
        "on each of {classes} all units are of one class: the limits allow for the errors that so few units can miss"
    ),
    # maps from labels
    "one_class": "labels of at least two classes are needed",
    "class_without_labels": "nothing is labelled {classes}: the map will not show it",
    "class_labelled_once": "one polygon alone is labelled {classes}: how well it is mapped cannot be known",
    "class_in_one_block": (
        "all that is labelled {classes} lies in one of {blocks} parts of the area: how well it is mapped elsewhere cannot be known"
    ),
    "class_in_one_place": "all labels of {classes} share pixels: how well it is mapped elsewhere cannot be known",
    "class_labelled_rarely": "fewer than {needed} polygons are labelled {classes}: their accuracy is known only roughly",
    "no_attribute": "has no attribute '{attribute}'; it has {attributes}",
    # labels
    "labels_outside": "none of its labels lies on {rasters}",
    "labels_empty": "all of its labels that lie on {rasters} lie on pixels without data",
    "labels_of_one_class": "the labels that lie on the data of {rasters} are all '{name}'; at least two classes are needed",
    "labels_partly_outside": "{count} of {total} labels lie outside and do not count",
    "labels_partly_empty": "{count} of {total} labels lie on pixels without data and do not count",
    "labels_without_class": "{count} of {total} labels have no class and do not count",
    "no_encoder": "an encoder is needed for these features, and none is given",
    "place_without_data": "the place {x:.10g}, {y:.10g} lies on no data of it",
    "no_class_values": "'{attribute}' is empty for all labels; it must hold the class of each",
    "too_many_classes": "'{attribute}' has {count} different values, too many to be classes (limit {limit})",
    "class_twice": "'{one}' and '{other}' in '{attribute}' differ by case, spaces or leading zeros only; write the class in one way",
    "no_class_value": "'{text}' in '{attribute}' is neither a class number nor a class name of the map",
}


_FORMATS = {"size": size_text, "duration": duration_text}


class Words(string.Formatter):
    """Fills facts into a sentence, in English."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """Format one fact: another message, bytes (``:size``), seconds (``:duration``), or by Python's rules."""
        if isinstance(value, Message):
            return self.message(value)
        own = _FORMATS.get(format_spec)
        return own(value) if own else str(super().format_field(value, format_spec))

    def sentence(self, kind: str) -> str:
        """The sentence of a kind."""
        return MESSAGES[kind]

    def message(self, message: Message) -> str:
        """A message as text: where, and the sentence with its facts."""
        text = self.vformat(self.sentence(message.kind), (), message.fields)
        where = message.fields.get("where")
        return f"{where}: {text}" if where else text


@dataclass(frozen=True)
class Message:
    """One sentence for the user, not yet worded: a key of ``MESSAGES``, and the facts that its sentence names.

    A fact ``where`` is the file or layer that it is about.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def about(self, where: Any) -> Message:
        """The same message, about a file or layer."""
        return replace(self, fields={**self.fields, "where": where})

    def __str__(self) -> str:
        """In English, without a remedy."""
        return ENGLISH.message(self)


ENGLISH = Words()

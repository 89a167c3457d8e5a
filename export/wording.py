"""How the command line words the runtime's messages: in English, and what to do with which flag."""

from __future__ import annotations

from export.runtime.errors import RuntimeFault
from export.runtime.messages import Message, Words

# kind of message -> what follows its sentence; the names are those of its facts
REMEDIES = {
    "no_card": ", or export the model with 'python -m export.to_onnx'",
    "external_weights": " with 'python -m export.to_onnx --onefile {where}'",
    "bands_given": "; see --bands",
    "no_such_band": "; see --bands",
    **dict.fromkeys(
        (
            "bands_in_order",
            "first_bands",
            "bands_unnamed",
            "bands_by_number",
            "bands_by_wavelength",
            "bands_by_rest",
            "bands_ambiguous",
            "band_twice",
            "other_bands",
        ),
        "; see --bands",
    ),
    "corrupt": "; copy it again, or leave it out",
    "change_day": "; write the date into its name, such as scene_20240630.tif",
    "needs_series": "; give its dates with --series",
    "no_series": "; leave --series or --combine out",
    "mask_values": "; see --mask-values",
    "mask_unknown": " with --mask-values",
    "mask_missing": "; see --mask-band",
    "mask_beyond": "; see --mask-band",
    "same_day": ", or bring the bands of one date into one file (gdalbuildvrt -separate) or one STAC Item; see --mask-band for masks",
    "dates_differ": "; see --dates",
    "date_of_file": "; see --dates",
    "bounds_apart": "; see --bounds",
    "bounds_outside": "; see --bounds",
    "mask_outside": "; see --mask",
    "too_wide": " with --block or --bounds",
    "overwrites_input": "; choose another --out",
    "disk_full": "; make room or choose another --out",
    "cache_disk_full": "; make room or choose another --cache",
    "no_unit": "; leave --input out",
    "fixed_overlap": "; leave --overlap out",
    "no_nodata": "; if that is empty, give --nodata {value:g}",
    "nodata_in_some": "; see --nodata-rule",
    "values_maybe_sentinel2": "; see --input",
    "read_differently": " with --input",
    "taken_for_sentinel2": "; if they are not, see --input",
    "taken_for_true_colour": "; if it is not, see --input",
    "offsets_differ": "; give it with --offset",
    "offset_not_added": "; see --input",
    "offset_assumed": "; --offset 0 for older scenes",
    "bad_coordinates": "; set them again with gdal_edit",
    "bounds_order": "; see --bounds",
    "no_attribute": "; name it with --field",
    "not_a_sample": "; name the MAP that it is to be compared with",
    "sample_holds_answers": "; choose another --out",
    "sample_too_close": "; see --distance",
}


class _Shell(Words):
    def message(self, message: Message) -> str:
        """The sentence and its remedy."""
        return super().message(message) + self.vformat(REMEDIES.get(message.kind, ""), (), message.fields)


_SHELL = _Shell()


def words(what: RuntimeFault | Message) -> str:
    """An error or a note for someone at a shell."""
    return _SHELL.message(what.message if isinstance(what, RuntimeFault) else what)

"""What the four packages' command lines share: how errors end a command, and options of the same name.

The command `rbox-formats` itself is in `main`, with a file for each subcommand.
"""

from rbox_formats.cli._group import Group, Listing, show_messages
from rbox_formats.cli._locking import holding, wait_option, writes
from rbox_formats.cli._options import (
    class_names_option,
    codec_options,
    codec_settings_option,
    dataset_options,
    input_size_option,
    only_labelled_option,
    parse_class_names,
    parse_options,
    parse_size,
    pixels_options,
)
from rbox_formats.cli._prediction import Extras, images_to_predict, prediction_options, require_images

__all__ = [
    "Extras",
    "Group",
    "Listing",
    "class_names_option",
    "codec_options",
    "codec_settings_option",
    "dataset_options",
    "holding",
    "images_to_predict",
    "input_size_option",
    "only_labelled_option",
    "parse_class_names",
    "parse_options",
    "parse_size",
    "pixels_options",
    "prediction_options",
    "require_images",
    "show_messages",
    "wait_option",
    "writes",
]

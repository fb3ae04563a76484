"""What YMIR's tasks need of MMRotate's detectors; all else is rbox_formats.executor's."""

"""What YMIR's tasks need of multimodal detectors; all else is rbox_formats.executor's."""

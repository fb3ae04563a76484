"""The operators that mmcv compiles, in torch and by rbox_metrics.

`OPERATORS` holds each under the name that mmcv's Python files ask of `mmcv._ext`, to be called as they call it: tensors
in, results written into the tensors that they pass, on the CPU and on a GPU. Tensors that mmcv passes as scratch memory
are not written. Formulas and border rules are mmcv's (its versions 2.0.1 and 2.1.0 agree). Where an operator of mmcv is
wrong, or its CPU and GPU results differ, the docstring says what is done here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rbox_baselines._ops import (
    _attention,
    _carafe,
    _deform,
    _losses,
    _masked,
    _orientation,
    _overlaps,
    _polygons,
    _roi,
    _roi_pool,
    _roi_upright,
    _suppression,
)
from rbox_baselines._ops._check import outside_autocast

OPERATORS: dict[str, Callable[..., Any]] = {
    function.__name__: outside_autocast(function)
    for function in (
        _attention.ms_deform_attn_backward,
        _attention.ms_deform_attn_forward,
        _carafe.carafe_backward,
        _carafe.carafe_forward,
        _carafe.carafe_naive_backward,
        _carafe.carafe_naive_forward,
        _deform.deform_conv_backward_input,
        _deform.deform_conv_backward_parameters,
        _deform.deform_conv_forward,
        _deform.modulated_deform_conv_backward,
        _deform.modulated_deform_conv_forward,
        _losses.chamfer_distance_backward,
        _losses.chamfer_distance_forward,
        _losses.sigmoid_focal_loss_backward,
        _losses.sigmoid_focal_loss_forward,
        _losses.softmax_focal_loss_backward,
        _losses.softmax_focal_loss_forward,
        _masked.masked_col2im_forward,
        _masked.masked_im2col_forward,
        _orientation.active_rotated_filter_backward,
        _orientation.active_rotated_filter_forward,
        _orientation.riroi_align_rotated_backward,
        _orientation.riroi_align_rotated_forward,
        _orientation.rotated_feature_align_backward,
        _orientation.rotated_feature_align_forward,
        _overlaps.bbox_overlaps,
        _overlaps.box_iou_quadri,
        _overlaps.box_iou_rotated,
        _polygons.convex_giou,
        _polygons.convex_iou,
        _polygons.diff_iou_rotated_sort_vertices_forward,
        _polygons.min_area_polygons,
        _polygons.points_in_polygons_forward,
        _roi.roi_align_rotated_backward,
        _roi.roi_align_rotated_forward,
        _roi_pool.deform_roi_pool_backward,
        _roi_pool.deform_roi_pool_forward,
        _roi_pool.roi_pool_backward,
        _roi_pool.roi_pool_forward,
        _roi_upright.roi_align_backward,
        _roi_upright.roi_align_forward,
        _suppression.nms,
        _suppression.nms_match,
        _suppression.nms_quadri,
        _suppression.nms_rotated,
        _suppression.softnms,
    )
}

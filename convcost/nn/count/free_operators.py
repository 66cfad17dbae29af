"""Names of torch's operators that are 0 MACs by convention, grouped by what they do.

They move, make, compare or combine elements in one pass: no operand is multiplied with every element of another.
Names are those of `aten` and `prims` without the endings of other forms: `relu` is `relu_`, `relu.out` and more.
"""

from __future__ import annotations

from typing import Final

_VIEWS: Final = """
    _conj _fw_primal _make_dual _mkldnn_reshape _mkldnn_transpose _neg_view _reshape _reshape_alias
    _test_autograd_multiple_dispatch_view _unsafe_view alias as_strided broadcast_in_dim chunk collapse
    collapse_view conj detach diagonal expand flatten imag lift_fresh matrix_H mH movedim mT narrow narrow_copy
    numpy_T permute real reshape select slice split split_dim split_with_sizes squeeze swapaxes t transpose unbind
    unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as view_as_complex
    view_as_real view_of view_of_dtype
"""
_CONSTRUCTORS: Final = """
    _cudnn_init_dropout_state _efficientzerotensor _empty_affine_quantized _empty_per_channel_affine_quantized
    _make_dep_token _make_token _new_zeros_with_same_feature_meta _sink_tokens arange bartlett_window
    blackman_window empty empty_like empty_permuted empty_quantized empty_strided eye fft_fftfreq fft_rfftfreq
    from_file full full_like hamming_window hann_window iota kaiser_window linspace logspace new_empty
    new_empty_strided new_full new_ones new_zeros ones ones_like randperm range scalar_tensor tril_indices
    triu_indices zeros zeros_like
"""
_COPIES: Final = """
    _chunk_cat _copy_from _copy_from_and_resize _lazy_clone _pad_circular _pad_enum _pin_memory _resize_output
    _stack _to _to_copy block_diag cat channel_shuffle clone col2im constant_pad_nd contiguous convert_element_type
    copy copy_strided copy_to device_put diag_embed fill flip im2col inductor_force_stride_order lift pad pin_memory
    pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d resize resize_as rev roll rot90 set stack tile to tril
    triu zero
"""
_INDEXING: Final = """
    _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo _embedding_bag _embedding_bag_dense
    _embedding_bag_forward_only _embedding_bag_per_sample_weights _index_put_impl _unique _unique2 _unsafe_index
    _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate as_strided_scatter bucketize
    diagonal_scatter embedding embedding_dense embedding_renorm gather index index_add index_copy index_fill
    index_put index_reduce index_select isin lu_unpack masked_fill masked_scatter masked_select nonzero
    nonzero_static put scatter scatter_add scatter_reduce searchsorted select_scatter slice_inverse slice_scatter
    take unique_consecutive unique_dim unique_dim_consecutive where
"""
_ELEMENTWISE: Final = """
    __and__ __iand__ __ilshift__ __ior__ __irshift__ __ixor__ __lshift__ __or__ __rshift__ __xor__ _add_relu
    _conj_physical _prelu_kernel _transform_bias_rescale_qkv abs acos acosh add addcdiv addcmul addr angle asin
    asinh atan atan2 atanh bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1 bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor cbrt ceil celu clamp clamp_max
    clamp_min complex conj_physical copysign cos cosh deg2rad digamma div elu eq erf erf_inv erfc erfcx erfinv exp
    exp2 expm1 float_power floor floor_divide fma fmax fmin fmod frac frexp gcd ge gelu glu glu_backward_jvp glu_jvp
    gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0 igamma igammac isfinite isinf isnan isneginf
    isposinf lcm ldexp le leaky_relu lerp lgamma linalg_cross log log10 log1p log2 log_sigmoid log_sigmoid_forward
    logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt maximum minimum mish mul mvlgamma
    nan_to_num ndtri ne neg nextafter polar polygamma positive pow prelu rad2deg reciprocal relu relu6 remainder
    round rrelu_with_noise rsqrt rsub selu sgn shift_left shift_right_arithmetic sigmoid sign signbit silu sin sinc
    sinh softplus softshrink special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_entr special_erfcx special_hermite_polynomial_h
    special_hermite_polynomial_he special_i0e special_i1 special_i1e special_laguerre_polynomial_l
    special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri special_scaled_modified_bessel_k0
    special_scaled_modified_bessel_k1 special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_spherical_bessel_j0
    special_xlog1py special_zeta spherical_bessel_j0 sqrt square sub tan tanh threshold true_divide trunc xlogy zeta
"""
_REDUCTIONS: Final = """
    _aminmax _cummax_helper _cummin_helper _histogramdd_bin_edges _histogramdd_from_bin_cts
    _histogramdd_from_bin_tensors _is_all_true _is_any_true _logcumsumexp _segment_reduce all allclose amax amin
    aminmax any argmax argmin bincount count_nonzero cummax cummin cumprod cumsum dist equal hash_tensor histc
    histogram kthvalue linalg__powsum linalg_vector_norm logcumsumexp logsumexp max maximum_value mean median min
    minimum_value mode nanmedian nansum norm powsum prod segment_reduce sort std std_mean sum topk trace var
    var_mean xor_sum
"""
_NORMALISATION: Final = """
    _batch_norm_no_update _batch_norm_with_update _fused_rms_norm _log_softmax _masked_scale _masked_softmax
    _native_batch_norm_legit _native_batch_norm_legit_no_training _safe_softmax _softmax _weight_norm_interface
    batch_norm batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
    batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats cudnn_batch_norm layer_norm
    log_softmax miopen_batch_norm native_batch_norm native_group_norm native_layer_norm native_norm
    prepare_softmax_online renorm softmax
"""
_POOLING_AND_RESAMPLING: Final = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _grid_sampler_2d_cpu_fallback _low_memory_max_pool2d_offsets_to_indices
    _low_memory_max_pool2d_with_offsets _low_memory_max_pool_offsets_to_indices _low_memory_max_pool_with_offsets
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d affine_grid_generator avg_pool1d
    avg_pool2d avg_pool3d cudnn_affine_grid_generator cudnn_grid_sampler fractional_max_pool2d fractional_max_pool3d
    grid_sampler_2d grid_sampler_3d max_pool2d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d
    max_unpool3d mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d mkldnn_max_pool3d upsample_bicubic2d
    upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d
"""
_LOSSES: Final = """
    _ctc_loss _cudnn_ctc_loss _use_cudnn_ctc_loss _use_miopen_ctc_loss binary_cross_entropy
    binary_cross_entropy_with_logits huber_loss miopen_ctc_loss mse_loss multi_margin_loss multilabel_margin_loss
    multilabel_margin_loss_forward nll_loss nll_loss2d nll_loss2d_forward nll_loss_forward smooth_l1_loss
    soft_margin_loss
"""
_RANDOM: Final = """
    _dirichlet_grad _fill_mem_eff_dropout_mask _fused_dropout _philox_key_fold_in _philox_key_split _philox_normal
    _philox_uniform _sample_dirichlet _standard_gamma _standard_gamma_grad bernoulli binomial cauchy dropout
    exponential geometric inductor_lookup_seed inductor_rand_eager_offset inductor_rand_eager_offsets
    inductor_randint inductor_random inductor_seed inductor_seeds log_normal multinomial native_dropout normal
    poisson rand rand_like randint randint_like randn randn_like random uniform
"""
_RECURRENT_CELLS: Final = "_thnn_fused_gru_cell _thnn_fused_lstm_cell"
"""The gates alone: the products with the weights are operators of their own."""
_QUANTISATION: Final = """
    _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fused_moving_avg_obs_fq_helper
    _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor dequantize
    fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask inductor_cvt_e8m0_rceil
    int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qscheme
    quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm quantized_max_pool1d
    quantized_max_pool2d quantized_max_pool3d
"""
_WEIGHT_LAYOUTS: Final = """
    _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu _cslt_compress _cudnn_rnn_flatten_weight
    _dyn_quant_pack_4bit_weight _sparse_semi_structured_apply _sparse_semi_structured_apply_dense
    _sparse_semi_structured_tile _to_sparse_semi_structured mkldnn_reorder_conv2d_weight
    mkldnn_reorder_conv3d_weight to_mkldnn
"""
_SPARSE_FORMATS: Final = """
    _coalesce _coalesced _dimI _dimV _indices _nnz _sparse_broadcast_to _sparse_compressed_tensor_with_dims
    _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors _sparse_csr_prod _sparse_csr_sum
    _sparse_log_softmax _sparse_mask_projection _sparse_softmax _sparse_sum _spdiags _to_dense _to_sparse
    _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr _validate_compressed_sparse_indices _values
    ccol_indices coalesce col_indices copy_sparse_to_sparse crow_indices dense_dim indices is_coalesced
    resize_as_sparse row_indices sparse_compressed_tensor sparse_coo_tensor sparse_dim sparse_mask sparse_resize
    sparse_resize_and_clear values
"""
_NESTED_TENSORS: Final = """
    _jagged_to_padded_dense_forward _nested_compute_contiguous_strides_offsets _nested_from_padded
    _nested_from_padded_and_nested_example _nested_from_padded_tensor _nested_get_jagged_dummy _nested_get_lengths
    _nested_get_max_seqlen _nested_get_min_seqlen _nested_get_offsets _nested_get_ragged_idx _nested_get_values
    _nested_select _nested_sum _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned
    _nested_tensor_from_tensor_list _nested_tensor_size _nested_tensor_softmax_with_shape
    _nested_tensor_storage_offsets _nested_tensor_strides _nested_view_from_buffer _nested_view_from_jagged
    _pack_padded_sequence _padded_dense_to_jagged_forward to_padded_tensor
"""
_PROPERTIES: Final = """
    _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async _functional_assert_scalar
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size _fused_sdp_choice
    _has_same_storage_numel _linalg_check_errors _local_scalar_dense _print is_pinned is_same_size is_set_to item
    record_stream sym_constrain_range sym_constrain_range_for_size
"""
"""Assertions, properties of a tensor, and what reads one number."""
_OPTIMISERS: Final = """
    _amp_foreach_non_finite_check_and_unscale _amp_update_scale _foreach _fused_adagrad _fused_adam _fused_adamw
    _fused_sgd
"""

FREE: Final = frozenset(
    " ".join((
        *(_VIEWS, _CONSTRUCTORS, _COPIES, _INDEXING, _ELEMENTWISE, _REDUCTIONS, _NORMALISATION),
        *(_POOLING_AND_RESAMPLING, _LOSSES, _RANDOM, _RECURRENT_CELLS, _QUANTISATION, _WEIGHT_LAYOUTS),
        *(_SPARSE_FORMATS, _NESTED_TENSORS, _PROPERTIES, _OPTIMISERS),
    )).split()
)  # fmt: skip
"""Operators of 0 MACs."""

_OF_OTHER_LIBRARIES: Final = """
    torchvision::nms torchvision::ps_roi_align torchvision::ps_roi_pool torchvision::roi_align torchvision::roi_pool
"""
FREE_OF_OTHER_LIBRARIES: Final = frozenset({
    *_OF_OTHER_LIBRARIES.split(),
    *(f"natten::token_{kind}_{axes}d" for kind in ("permute", "unpermute") for axes in (1, 2, 3)),
})  # fmt: skip
"""Selection, resampling and copies of other libraries, by qualified name."""

_OPAQUE: Final = """
    _wrapped_quantized_linear_prepacked fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
    fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation quantized_gru_cell quantized_lstm_cell
    quantized_rnn_relu_cell quantized_rnn_tanh_cell
"""
OPAQUE: Final = frozenset(_OPAQUE.split())
"""Composite operators whose compiled code multiplies by itself: taking them apart would show no product."""

_PREFIXES: Final = ("_foreach_",)
_SUFFIXES: Final = ("_", "_copy", "_functional", "_backward", "_backward_data", "_backward_impl")


def is_free_name(name: str) -> bool:
    """Whether an operator is 0 MACs: by its name, or as another form of one that is.

    Forms are in place (`relu_`), as a copy (`view_copy`), without side effects (`normal_functional`), over a list
    (`_foreach_relu`), and the backward pass (`relu_backward`), which is elementwise where the forward pass is.
    """
    if name in FREE:
        return True
    if any(name.startswith(prefix) and is_free_name(name.removeprefix(prefix)) for prefix in _PREFIXES):
        return True
    return any(name.endswith(suffix) and is_free_name(name.removesuffix(suffix)) for suffix in _SUFFIXES)

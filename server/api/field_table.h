// The rows behind field_classes.h. A new field of a reply cannot be sent before it has a row here;
// deciding its class is a privacy review.
#ifndef SOTTO_SERVER_API_FIELD_TABLE_H_
#define SOTTO_SERVER_API_FIELD_TABLE_H_

#include "absl/strings/string_view.h"
#include "server/api/field_classes.h"

namespace sotto::api {

struct FieldTableRow {
  absl::string_view message;  // full name
  FieldClass field_class;
  absl::string_view fields;  // separated by spaces
};

// Hashes of the records, and what is computed from them (the ledger's chain covers registrations),
// are kSteward: whoever guesses all records but one could check the guess for the last.
inline constexpr FieldTableRow kFieldTable[] = {
    {"sotto.v1.SubmitJobResponse", FieldClass::kPublic, "job existing schedule"},
    {"sotto.v1.Job", FieldClass::kPublic,
     "id name state reason message attempt restarts completed_steps plan history checkpoint_path "
     "checkpoint_step epsilon request_id steward_viewed"},
    {"sotto.v1.Job", FieldClass::kTiming, "submit_time end_time"},
    {"sotto.v1.JobPlan", FieldClass::kPublic,
     "protocol_version spec dataset privacy train sharding memory notes inference"},
    {"sotto.v1.JobPlan", FieldClass::kTiming, "device_profile"},
    {"sotto.v1.DeviceProfile", FieldClass::kTiming,
     "threads product_flops example_products gram_flops hold_bytes_per_second "
     "fold_bytes_per_second scale_bytes_per_second normals_per_second updates_per_second"},
    {"sotto.v1.ProductRate", FieldClass::kTiming, "inner flops"},
    {"sotto.v1.JobSpec", FieldClass::kPublic,
     "name model data privacy train workers gradient checkpoint inference"},
    {"sotto.v1.InferenceSpec", FieldClass::kPublic,
     "checkpoint_of_job prompt_file output batch_size generate score capture edit"},
    {"sotto.v1.GenerateSpec", FieldClass::kPublic,
     "max_new_tokens temperature top_k top_p stop_tokens seed"},
    {"sotto.v1.CaptureSpec", FieldClass::kPublic, "layers"},
    {"sotto.v1.EditSpec", FieldClass::kPublic, "projections scale"},
    {"sotto.v1.InferencePlan", FieldClass::kPublic,
     "prompts prompt_sha256 longest_prompt batch_size checkpoint_path"},
    {"sotto.v1.ModelSpec", FieldClass::kPublic,
     "gpt2 llama encoder mlp cnn vit dit init_seed hugging_face_directory adaptation"},
    {"sotto.v1.AdaptationSpec", FieldClass::kPublic, "lora bias_only frozen"},
    {"sotto.v1.LoraSpec", FieldClass::kPublic, "rank alpha targets"},
    {"sotto.v1.Gpt2Spec", FieldClass::kPublic,
     "vocabulary_size width layers heads max_length untied_head layer_norm_epsilon init_stddev "
     "hidden_width activation unscaled_attention scale_attention_by_layer"},
    {"sotto.v1.LlamaSpec", FieldClass::kPublic,
     "vocabulary_size width layers heads key_value_heads head_width hidden_width max_length "
     "untied_head rms_norm_epsilon rotary_base rotary_scaling init_stddev activation "
     "query_key_value_bias attention_output_bias hidden_bias query_key_norm"},
    {"sotto.v1.RotaryScalingSpec", FieldClass::kPublic,
     "kind factor original_max_length low_frequency_factor high_frequency_factor beta_fast "
     "beta_slow attention_factor attention_scale attention_scale_all_dims untruncated"},
    {"sotto.v1.EncoderSpec", FieldClass::kPublic,
     "vocabulary_size width layers heads hidden_width max_length classes layer_norm_epsilon "
     "init_stddev"},
    {"sotto.v1.MlpSpec", FieldClass::kPublic, "inputs hidden_widths outputs activation loss"},
    {"sotto.v1.CnnSpec", FieldClass::kPublic,
     "channels height width stage_channels groups outputs loss"},
    {"sotto.v1.VitSpec", FieldClass::kPublic,
     "channels image_size patch_size width layers heads hidden_width outputs layer_norm_epsilon "
     "init_stddev loss"},
    {"sotto.v1.DitSpec", FieldClass::kPublic,
     "channels image_size patch_size width layers heads hidden_width classes time_steps "
     "init_stddev"},
    {"sotto.v1.DataSpec", FieldClass::kPublic, "dataset public_evaluation_file lengths sampler"},
    {"sotto.v1.SamplerSpec", FieldClass::kPublic, "poisson shuffled full_batch"},
    {"sotto.v1.PrivacySpec", FieldClass::kPublic,
     "epsilon noise_multiplier delta clip_norm metrics crash_reserve not_private seed "
     "fixed_noise_multiplier clipping clip_schedule noise_schedule"},
    {"sotto.v1.ClippingSpec", FieldClass::kPublic, "flat per_unit automatic adaptive"},
    {"sotto.v1.PerUnitClipping", FieldClass::kPublic, "thresholds"},
    {"sotto.v1.AutomaticClipping", FieldClass::kPublic, "gamma"},
    {"sotto.v1.AdaptiveClipping", FieldClass::kPublic,
     "target_quantile learning_rate minimum maximum"},
    {"sotto.v1.ScheduleSpec", FieldClass::kPublic, "constant linear cosine step"},
    {"sotto.v1.MetricsPrivacySpec", FieldClass::kPublic,
     "max_loss loss_multiplier clip_fraction_multiplier accuracy_multiplier"},
    {"sotto.v1.TrainSpec", FieldClass::kPublic,
     "expected_batch_size steps optimizer learning_rate loss_reduction micro_batch_size "
     "evaluation_every_steps pad_to_cap activation_checkpointing"},
    {"sotto.v1.ActivationCheckpointingSpec", FieldClass::kPublic, "every_blocks units"},
    {"sotto.v1.OptimizerSpec", FieldClass::kPublic, "sgd adamw"},
    {"sotto.v1.SgdSpec", FieldClass::kPublic, "momentum weight_decay"},
    {"sotto.v1.AdamwSpec", FieldClass::kPublic,
     "beta1 beta2 epsilon weight_decay noise_correction"},
    {"sotto.v1.NoiseCorrectionSpec", FieldClass::kPublic, "floor"},
    {"sotto.v1.LearningRateSpec", FieldClass::kPublic,
     "peak warmup_steps constant cosine linear step"},
    {"sotto.v1.CosineDecay", FieldClass::kPublic, "final_fraction"},
    {"sotto.v1.LinearDecay", FieldClass::kPublic, "final_fraction"},
    {"sotto.v1.StepDecay", FieldClass::kPublic, "every_steps factor"},
    {"sotto.v1.WorkersSpec", FieldClass::kPublic,
     "count strategy gathered_slots shard_group_size reshard_after_forward wrapping prefetch_depth "
     "check_operations offload clear_caches_every_steps"},
    {"sotto.v1.ReshardSpec", FieldClass::kPublic, "none keep_gathered"},
    {"sotto.v1.WrappingSpec", FieldClass::kPublic, "by_block by_layer by_size"},
    {"sotto.v1.LayerWrapping", FieldClass::kPublic, "kinds"},
    {"sotto.v1.SizeWrapping", FieldClass::kPublic, "minimum_parameters"},
    {"sotto.v1.OffloadSpec", FieldClass::kPublic, "parameters gradients optimizer_state"},
    {"sotto.v1.GradientSpec", FieldClass::kPublic, "mode memory_limit_bytes deferred_norms"},
    {"sotto.v1.CheckpointSpec", FieldClass::kPublic, "every_steps keep keep_best"},
    {"sotto.v1.DatasetFacts", FieldClass::kPublic,
     "name path max_records vocabulary_size max_length budgeted budget_epsilon budget_delta "
     "privacy_unit adjacency classes image_shape targets"},
    {"sotto.v1.DatasetFacts", FieldClass::kSteward, "sha256"},
    {"sotto.v1.PrivacyPlan", FieldClass::kPublic,
     "not_private sampling_rate batch_cap noise_multiplier gradient_noise_multiplier "
     "loss_noise_multiplier clip_fraction_noise_multiplier clip_norm clip_norm_applied max_loss "
     "delta accounting_delta truncation_delta epsilon planned_steps charged_steps step_charge "
     "reserved_epsilon adjacency sensitivity_factor clip_margin clipping sampler segments "
     "accuracy_noise_multiplier"},
    {"sotto.v1.ClippingPlan", FieldClass::kPublic,
     "rule unit_thresholds gamma target_quantile learning_rate minimum maximum"},
    {"sotto.v1.SamplerPlan", FieldClass::kPublic, "kind batch_places steps_per_epoch"},
    {"sotto.v1.NoiseSegment", FieldClass::kPublic,
     "first_step factor noise_multiplier gradient_noise_multiplier loss_noise_multiplier "
     "clip_fraction_noise_multiplier step_charge charged_steps accuracy_noise_multiplier"},
    {"sotto.v1.TrainPlan", FieldClass::kPublic,
     "expected_batch_size steps micro_batch_size lengths checkpoint_every_steps checkpoint_keep "
     "checkpoint_keep_best checkpointed_blocks steps_per_grant parameters optimizer_floor"},
    {"sotto.v1.TrainPlan", FieldClass::kTiming, "estimated_seconds"},
    {"sotto.v1.ShardingPlan", FieldClass::kPublic,
     "world_size threads_per_rank gathered_slots gradient_slots units schedule_hash "
     "gathers_per_micro_batch reduces_per_micro_batch bytes_per_micro_batch mode mode_name "
     "communicator_bytes strategy shard_group_size replicas layers gathers_per_step "
     "reduces_per_step bytes_per_step kept_gathered prefetch_depth check_operations"},
    {"sotto.v1.UnitPlan", FieldClass::kPublic, "name elements padded_elements trained_elements"},
    {"sotto.v1.LayerPlan", FieldClass::kPublic, "unit name kind mode note"},
    {"sotto.v1.LayerPlan", FieldClass::kTiming, "predicted_seconds"},
    {"sotto.v1.UnitMode", FieldClass::kPublic, "norm when kept"},
    {"sotto.v1.MemoryPlan", FieldClass::kPublic,
     "parameters_bytes gradient_bytes optimizer_bytes slots_bytes activations_bytes "
     "held_gradients_bytes workspace_bytes communicator_bytes baseline_bytes total_bytes "
     "fragmentation_bytes"},
    {"sotto.v1.StateChange", FieldClass::kPublic, "state reason message attempt"},
    {"sotto.v1.StateChange", FieldClass::kTiming, "time"},
    {"sotto.v1.ListJobsResponse", FieldClass::kPublic, "jobs next_page_token"},
    {"sotto.v1.WatchJobResponse", FieldClass::kPublic, "events tail_sequence"},
    {"sotto.v1.WatchJobResponse", FieldClass::kTiming, "server_time"},
    {"sotto.v1.JobEvent", FieldClass::kPublic,
     "sequence state step checkpoint grant evaluation note"},
    {"sotto.v1.JobEvent", FieldClass::kTiming, "time"},
    {"sotto.v1.StepReport", FieldClass::kPublic,
     "step attempt epsilon learning_rate gradient_norm_resolution mean_loss_standard_error "
     "clip_fraction_standard_error evaluation_loss budget_left_epsilon noise_multiplier "
     "accuracy_standard_error"},
    {"sotto.v1.StepReport", FieldClass::kNoised,
     "noised_gradient_norm corrected_gradient_norm noised_mean_loss smoothed_mean_loss "
     "noised_clip_fraction clip_norm noised_accuracy"},
    {"sotto.v1.StepReport", FieldClass::kTiming, "steps_per_second"},
    {"sotto.v1.StepReport", FieldClass::kSteward, "raw"},
    {"sotto.v1.RawStepReport", FieldClass::kSteward,
     "mean_loss clip_fraction sampled_batch_size accuracy memory gradient_norm"},
    {"sotto.v1.MemoryReport", FieldClass::kSteward, "tensor_peak_bytes resident_peak_bytes"},
    {"sotto.v1.CheckpointEvent", FieldClass::kPublic, "step path"},
    {"sotto.v1.GrantEvent", FieldClass::kPublic, "attempt first_step end_step"},
    {"sotto.v1.EvaluationEvent", FieldClass::kPublic, "step evaluation_loss"},
    {"sotto.v1.GetLogsResponse", FieldClass::kPublic, "attempt rank"},
    {"sotto.v1.GetLogsResponse", FieldClass::kSteward, "text"},
    {"sotto.v1.GetServerInfoResponse", FieldClass::kPublic,
     "version protocol_version slots slots_in_use state_dir"},
    {"sotto.v1.Dataset", FieldClass::kPublic,
     "name path max_records vocabulary_size max_length budgeted budget spent_epsilon "
     "reserved_epsilon left_epsilon classes image_shape targets"},
    {"sotto.v1.Dataset", FieldClass::kTiming, "register_time"},
    {"sotto.v1.Dataset", FieldClass::kSteward, "sha256"},
    {"sotto.v1.Budget", FieldClass::kPublic, "epsilon delta adjacency privacy_unit"},
    {"sotto.v1.ListDatasetsResponse", FieldClass::kPublic, "datasets next_page_token"},
    {"sotto.v1.ListChargesResponse", FieldClass::kPublic, "entries next_page_token"},
    {"sotto.v1.LedgerEntry", FieldClass::kPublic,
     "row kind dataset job attempt first_step end_step steps step_charge truncation_delta "
     "segments steps_per_epoch"},
    {"sotto.v1.ChargeSegment", FieldClass::kPublic, "first_step step_charge steps"},
    {"sotto.v1.LedgerEntry", FieldClass::kTiming, "time"},
    {"sotto.v1.LedgerEntry", FieldClass::kSteward, "detail previous_hash hash"},
    {"sotto.v1.VerifyLedgerResponse", FieldClass::kPublic, "rows datasets"},
    {"sotto.v1.VerifyLedgerResponse", FieldClass::kSteward, "head_hash"},
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_FIELD_TABLE_H_

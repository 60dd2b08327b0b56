default_scope = 'cmmasksd'
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', interval=1, max_keep_ckpts=2, save_best='mIoU', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='ReferringVisualizationHook'),
)
custom_hooks = [
    dict(type='CheckpointFirstHook'),
    dict(type='StrictLoadHook'),
    dict(type='EpochSeedHook'),
    dict(type='AverageStatisticsHook'),
    dict(type='MissedValidationHook'),
    dict(type='NonFiniteLossHook'),  # stops; max_skips=N passes over N steps whose loss is not finite
    dict(type='ResumeHook'),
    dict(type='RunCheckHook'),
    dict(type='FrozenPartsHook'),
    dict(type='AccumulatedGradientsHook'),
]
visualizer = dict(
    type='ReferringVisualizer',
    name='visualizer',
    # Add dict(type='TensorboardVisBackend') or dict(type='WandbVisBackend') to log there too.
    vis_backends=[dict(type='LocalVisBackend')],
)
log_processor = dict(window_size=50)
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False

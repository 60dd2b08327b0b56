# An exponential moving average of the weights, running statistics included: it is validated, and a checkpoint's
# state_dict holds it, so that tools/test.py, the inferencer and publish_model.py take it. A resume goes on with both.
# It looks back on few steps at first, on some 1/momentum of them from step gamma/momentum on.
_base_ = '../vit-b_refcoco.py'
default_hooks = dict(
    ema=dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=1e-3, gamma=100, update_buffers=True)
)

from omegaconf.resolvers import oc

from dairy.hooks import LedgerHooks

HOOKS = (LedgerHooks(),)
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local", "custom_resolvers": {"oc.env": oc.env}}

"""Prints a config with its bases and overrides merged: python tools/misc/print_config.py CONFIG [--cfg-options k=v]"""

import argparse

from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config


def main() -> None:
    parser = argparse.ArgumentParser(description='Print the whole config.')
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides')
    args = parser.parse_args()
    cfg = open_config(args.config)
    merge_options(cfg, args.cfg_options)
    print(cfg.pretty_text)


if __name__ == '__main__':
    main()

"""``python -m cmmasksd``: the command ``cmmasksd``, also where no script of that name is on the path (torchrun -m
cmmasksd).
"""

from cmmasksd.cli import main

if __name__ == '__main__':
    main()

"""Prints what the C build must know of this interpreter: its extension tag and include paths.

NumPy's headers are among them where NumPy is installed.
"""

from __future__ import annotations

import sysconfig


def include_paths() -> list[str]:
    paths = sysconfig.get_paths()
    includes = [paths["include"], paths["platinclude"]]
    try:
        from numpy import get_include
    except ImportError:
        pass
    else:
        includes.append(get_include())
    return list(dict.fromkeys(includes))


def main() -> None:
    print(sysconfig.get_config_var("SOABI"), *include_paths())


if __name__ == "__main__":
    main()

"""`python -m whipray run`: a program that says `import ray`, on Whipray."""

from __future__ import annotations

import os
import sys
from types import CodeType, TracebackType
from typing import Any, NoReturn

from whipray import compat

USAGE = "usage: python -m whipray run script.py [arguments]\n       ... run -m module [arguments]"


def main(arguments: list[str]) -> None:
    """Run the program as `python` would have, with `ray` being Whipray."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _leave(USAGE, 0 if arguments else 2)
    os.environ[compat.SWITCH] = "1"
    compat.install()
    try:
        if arguments[0] == "-m":
            if len(arguments) < 2:
                _leave(USAGE, 2)
            _run_module(arguments[1], arguments[1:])
        else:
            _run_script(arguments[0], arguments)
    except BaseException as error:
        _show_from_program(error)
        raise


def _show_from_program(error: BaseException) -> None:
    """Have the interpreter show `error`, which ends it, without the frames above the program's."""
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_code.co_filename in _ABOVE:
        shown = shown.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        hook(kind, error.with_traceback(shown), shown)

    sys.excepthook = show


_ABOVE = (__file__, "<frozen runpy>")


def _leave(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr if code else sys.stdout)
    raise SystemExit(code)


def _run_module(name: str, argv: list[str]) -> None:
    import runpy

    sys.argv = argv
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_script(path: str, argv: list[str]) -> None:
    """The file, or what a folder or a zip file has as `__main__`."""
    import pkgutil

    importer = pkgutil.get_importer(path)
    if importer is not None:
        _run_main_of(path, importer, argv)
        return
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        _leave(f"python -m whipray run: can't open {path!r}: {error.strerror}", 2)
    path = os.path.abspath(path)  # as Python's own __file__
    code = compile(text, path, "exec")
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    _run_as_main(code, argv, __file__=path)


def _run_main_of(path: str, importer: Any, argv: list[str]) -> None:
    spec = importer.find_spec("__main__")
    code = spec and spec.loader.get_code("__main__")
    if code is None:
        _leave(f"python -m whipray run: can't find '__main__' module in {path!r}", 1)
    where = os.path.abspath(path)
    if sys.flags.safe_path:
        sys.path.insert(0, where)
    else:
        sys.path[0] = where
    _run_as_main(
        code, argv, __file__=spec.origin, __spec__=spec, __package__="", __loader__=spec.loader
    )


def _run_as_main(code: CodeType, argv: list[str], **given: Any) -> None:
    """In the real `__main__`: pickles and processes that it starts must find its names there."""
    sys.argv = argv
    names = vars(sys.modules["__main__"])
    names.clear()
    names.update(
        __name__="__main__",
        __builtins__=__builtins__,
        __doc__=None,
        __spec__=None,
        __package__=None,
        __loader__=None,
        __cached__=None,
    )
    names.update(given)
    exec(code, names)

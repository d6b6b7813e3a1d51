"""Runtime environments: what a `runtime_env` asks for, from its check to the worker that has it.

fields      what may stand in one, and how it is merged with that of the parent
ignore      patterns of .gitignore files and of `excludes`
package     snapshots of directories, archives and wheels in the session's directory
resolve     in the process that submits: paths become snapshots, `${NAME}` becomes its value
interpreter in the worker to be: virtual environments of pip and uv, other interpreters
enter       in the worker: the directory, the import path, the hook

The resolved environment is JSON text.  It is part of the name of the pool whose workers have it, so
workers of different environments never mix, and it travels to them as a variable.
"""

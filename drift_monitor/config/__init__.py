"""Configuration: YAML in, checked values out.

`loading.load` reads a configuration and returns a `schema.Config`, or raises `ConfigError` with every mistake at once,
each with file, line, column, the value found and a hint. Nothing here connects to anything; the only files read are
the configuration itself and the files its `_file` keys name.

    document   YAML text -> plain values, each with its place in the file (positions, variables, limits)
    fields     what all sections have in common, and the kinds of value a key can hold
    schema     one model a section: what may be written, and what the rest of the program uses
    receivers  the same for the kinds of receiver
    outbound   the same for where connections to receivers may go
    report     reads a document through its model; mistakes, collected and told in one form
    checks     what a single key can't know: names that dangle, panes that don't divide windows
    loading    all of it, and secrets that stand in files of their own
    web        the same for the file of `--web.config.file`
"""

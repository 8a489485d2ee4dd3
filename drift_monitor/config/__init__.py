"""Configuration: YAML in, checked values out.

`loading.load` reads a configuration and returns a `model.Config`, or raises `ConfigError` with every mistake at once,
each with file, line, column, the value found and a hint. Nothing here connects to anything; the only files read are
the configuration itself and the files its `_file` keys name.

    document   YAML text -> plain values, each with its place in the file (positions, variables, limits)
    sections   what may be written: one pydantic model a section, unknown keys refused
    report     mistakes, collected and told in one form
    checks     what a single key can't know: names that dangle, panes that don't divide windows
    assembly   sections -> the values of `model`, defaults filled in
    model      what the rest of the program uses
    public     the same as a document without secrets, and its hash
    web        the same for the file of `--web.config.file`
"""

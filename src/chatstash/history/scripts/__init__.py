"""The Lua scripts, each a whole `.lua` file, and the calls that run them.

Scripts run where one command or transaction will not do: Upstash bills each command in a script. It locks only the
script's keys if the first line says so, else the whole database. The header of each says:

- KEYS and ARGV: what it is given. A script touches no other key.
- Answer: what it returns. `commands` is how many commands it ran.
- Cost: how many commands are billed, the EVAL included.

Parts that several scripts include are in `include/`.
"""

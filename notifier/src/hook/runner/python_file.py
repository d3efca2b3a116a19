import asyncio
import inspect
import json
import sys

path = sys.argv[1]
given = json.load(sys.stdin)
with open(path, "rb") as file:
    code = compile(file.read(), path, "exec")
names = {"__name__": "hook", "__file__": path}
exec(code, names)
hook = names.get("hook")
if not callable(hook):
    sys.exit(f"{path} defines no function hook(host, client, item)")
answer = hook(given["host"], given["client"], given["item"])
if inspect.iscoroutine(answer):
    asyncio.run(answer)

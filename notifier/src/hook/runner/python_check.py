import ast
import sys

path = sys.argv[1]
with open(path, "rb") as file:
    tree = ast.parse(file.read(), "file")


def defines(node):
    """Whether a statement may give the name hook to something."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == "hook"
    if isinstance(node, ast.Name):
        return node.id == "hook" and isinstance(node.ctx, ast.Store)
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in ("hook", "*")
    return False


if not any(defines(node) for node in ast.walk(tree)):
    sys.exit("the file defines no function hook(host, client, item)")

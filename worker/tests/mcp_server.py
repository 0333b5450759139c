"""A small MCP server over stdio, written against the protocol and nothing else."""

import json
import os
import sys


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "small", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [{"name": "add", "inputSchema": {"type": "object"}}]}
    if method == "tools/call" and params["name"] == "add":
        arguments = params["arguments"]
        told = {
            "sum": arguments["a"] + arguments["b"],
            "key": params["_meta"]["stepmill.dev/idempotency-key"],
            "arguments": sys.argv[1:],
            "token": os.environ.get("TOKEN"),
        }
        return {"content": [{"type": "text", "text": str(told["sum"])}], "structuredContent": told}
    if method == "tools/call" and params["name"] == "conversations_add_message":
        return {"content": [{"type": "text", "text": "sent to " + params["arguments"]["channel_id"]}]}
    if method == "tools/call" and params["name"] == "fail":
        return {"content": [{"type": "text", "text": "out of luck " + os.environ.get("TOKEN", "")}], "isError": True}
    raise LookupError(method)


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    if request.get("params", {}).get("name") == "hang":
        continue
    if request.get("params", {}).get("name") == "leave":
        sys.exit(3)
    try:
        reply["result"] = answer(request["method"], request.get("params", {}))
    except LookupError:
        reply["error"] = {"code": -32602, "message": "no such tool"}
    print(json.dumps(reply), flush=True)

#!/usr/bin/env python3
"""A client of Lunette's engine, from docs/protocol.md alone: client.py list | run IMAGE CMD… | watch | deny IMAGE"""
import os, socket, sys, uuid
import msgpack  # python3-msgpack, or PyPI's msgpack

engine = socket.socket(socket.AF_UNIX)
engine.connect(os.environ.get("LUNETTE_SOCKET", "/run/lunette/engine.sock"))
frames, handlers = msgpack.Unpacker(max_buffer_size=40 << 20), {}

def call(function, files=(), chunk=lambda value: None, **arguments):
    """Returns the call's result; hands its chunks on and answers what the engine asks of handlers meanwhile."""
    context = {"id": uuid.uuid4().hex, "script": sys.argv[0], "files": len(files)}
    socket.send_fds(engine, [msgpack.packb([0, 1, function, [arguments, context]])], files)
    while True:
        for kind, *frame in frames:
            if kind == 0:  # [id, "hook.before", [subscription, event]]
                subscription, event = frame[2]
                engine.sendall(msgpack.packb([1, frame[0], None, handlers[subscription](event)]))
            elif kind == 1:  # [id, error, result]
                if frame[1]:
                    raise SystemExit(f"{frame[1]['code']}: {frame[1]['message']}")
                return frame[2]
            elif frame[0] == "chunk":  # ["chunk", [id, value]]
                chunk(frame[1][1])
        frames.feed(engine.recv(65536) or sys.exit("the engine has gone"))

verb, *words = sys.argv[1:] or ["help"]
if verb == "list":
    for container in call("container.inspect_all", all=True, fields=["name", "status"]):
        print(container["name"], container["status"])
elif verb == "run":
    container = call("container.run", [1, 2], stdio=["stdout", "stderr"], spec={"image": words[0], "args": words[1:]})
    end = call("container.wait", container=container)
    call("container.remove", container=container)
    sys.exit(end["code"])
elif verb == "watch":
    call("events.follow", chunk=lambda event: print(event["name"], event["target"].get("name"), flush=True))
elif verb == "deny":
    image = call("image.get", image=words[0])["id"]  # whatever name it is asked for by
    handlers["gate"] = lambda event: {"deny": "not this image"} if event.get("image", {}).get("id") == image else None
    call("hook.register", subscription="gate", kind="before", event="container.create")
    print("watching", flush=True)
    call("events.follow", match={"name": "engine.ready"})  # never ends: its handler is asked meanwhile
else:
    sys.exit("usage: client.py list | run IMAGE [WORD…] | watch | deny IMAGE")

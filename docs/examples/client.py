#!/usr/bin/env python3
"""A client of Lunette's engine, from docs/protocol.md alone: client.py list | run IMAGE CMD… | watch | deny IMAGE"""
import itertools, os, socket, sys, uuid
import msgpack  # python3-msgpack, or PyPI's msgpack

class Engine:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.frames, self.numbers, self.handlers = msgpack.Unpacker(max_buffer_size=40 << 20), itertools.count(1), {}

    def call(self, function, files=(), chunk=None, **arguments):
        """Returns the call's result; hands its chunks on and answers what the engine asks of handlers meanwhile."""
        number = next(self.numbers)
        context = {"id": uuid.uuid4().hex, "script": sys.argv[0], "files": len(files)}
        socket.send_fds(self.socket, [msgpack.packb([0, number, function, [arguments, context]])], files)
        while True:
            for kind, *frame in self.frames:
                if kind == 0:  # [id, "hook.before", [subscription, event]]
                    answer = self.handlers[frame[2][0]](frame[2][1])
                    self.socket.sendall(msgpack.packb([1, frame[0], None, answer]))
                elif kind == 2 and chunk:  # ["chunk", [id, value]]
                    chunk(frame[1][1])
                elif kind == 1 and frame[0] in (number, None):  # [id, error, result]
                    if frame[1]:
                        raise SystemExit(f"{frame[1]['code']}: {frame[1]['message']}")
                    return frame[2]
            self.frames.feed(self.socket.recv(65536) or sys.exit("the engine has gone"))

    def before(self, event, handler, **options):
        self.handlers[event] = handler
        self.call("hook.register", subscription=event, kind="before", event=event, **options)

engine, (verb, *words) = Engine(os.environ.get("LUNETTE_SOCKET", "/run/lunette/engine.sock")), sys.argv[1:]
if verb == "list":
    for container in engine.call("container.inspect_all", all=True, fields=["name", "status"]):
        print(container["name"], container["status"])
elif verb == "run":
    container = engine.call(
        "container.run", files=[1, 2], stdio=["stdout", "stderr"], spec={"image": words[0], "args": words[1:]})
    end = engine.call("container.wait", container=container)
    engine.call("container.remove", container=container)
    sys.exit(end["code"])
elif verb == "watch":
    engine.call("events.follow", chunk=lambda event: print(event["name"], event["target"].get("name"), flush=True))
elif verb == "deny":
    engine.before("container.create", lambda event: {"deny": "not this image"} if event["spec"]["image"] == words[0] else None)
    print("watching", flush=True)
    engine.call("events.follow", match={"name": "engine.ready"})  # never ends: its handler is asked meanwhile

#!/usr/bin/env python3
"""Calls an engine as another user, over the wire: caller.py UID SOCKET CALL …, where CALL is a line of JSON: [function, arguments, context]. One connection for all of
them; prints a line of JSON for each: {"result": …} or {"error": {…}}. Handlers that the engine asks answer what HANDLER (the environment's, JSON) says."""
import json, os, socket, sys
import msgpack

uid, path, *calls = sys.argv[1:]
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(path)
except OSError as error:
    print(json.dumps({"error": {"code": "io", "message": error.strerror}}))
    sys.exit()
frames = msgpack.Unpacker(unicode_errors="replace")
handler = json.loads(os.environ.get("HANDLER", "null"))
for number, text in enumerate(calls):
    function, arguments, *context = json.loads(text)
    try:
        connection.sendall(msgpack.packb([0, number, function, [arguments, *context]]))
    except BrokenPipeError:
        pass  # Why it has ended is there to read.
    answered = False
    while not answered:
        received = connection.recv(65536)
        if not received:
            print(json.dumps({"error": {"code": "io", "message": "the end"}}), flush=True)
            sys.exit()
        frames.feed(received)
        for kind, *frame in frames:
            if kind == 0:
                connection.sendall(msgpack.packb([1, frame[0], None, handler]))
            elif kind == 1 and frame[0] in (number, None):
                print(json.dumps({"error": frame[1]} if frame[1] else {"result": frame[2]}, default=repr), flush=True)
                answered = True

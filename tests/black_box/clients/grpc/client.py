"""Calls every method of the server through the gateway. Arguments: HOST:PORT, the authority's certificate, an API key.

Prints a line of JSON for each call: its name, what came, the status, and the trailing metadata.
"""
import json
import queue
import sys

import grpc

address, authority, key = sys.argv[1:4]
with open(authority, "rb") as certificate:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate.read()))


def metadata(credential):
    return (("authorization", "ApiKey " + credential), ("x-auth-user", "root"), ("x-note", "kept"))


def tell(name, came, call):
    trailing = {field: value for field, value in call.trailing_metadata() or ()}
    came = [part.decode() for part in came]
    print(json.dumps([name, came, call.code().name, call.details() or "", trailing]), flush=True)


def call(name, kind, argument, timeout=15, credential=key):
    method = getattr(channel, kind)("/test.Calls/" + name)
    try:
        if kind.endswith("stream"):
            answers = method(argument, metadata=metadata(credential), timeout=timeout)
            tell(name, list(answers), answers)
        else:
            answer, done = method.with_call(argument, metadata=metadata(credential), timeout=timeout)
            tell(name, [answer], done)
    except grpc.RpcError as error:
        tell(name, [], error)


def ping_pong():
    """Each message is sent only when the one before has been answered."""
    sent = queue.Queue()
    answers = channel.stream_stream("/test.Calls/BothStreams")(
        iter(sent.get, None), metadata=metadata(key), timeout=15)
    came = []
    for number in range(3):
        sent.put(b"%d" % number)
        came.append(next(answers))
    sent.put(None)
    came.extend(answers)
    tell("BothStreams", came, answers)


call("Unary", "unary_unary", b"abc")
call("ServerStream", "unary_stream", b"4")
call("ClientStream", "stream_unary", iter([b"x" * 100_000] * 30))
ping_pong()
call("Fail", "unary_unary", b"")
# The server answers while the client still holds its stream open.
call("FailEarly", "stream_unary", iter(queue.Queue().get, None))
call("Unknown", "unary_unary", b"")
call("Slow", "unary_unary", b"", timeout=0.5)
call("Unary", "unary_unary", b"", credential="wrong")

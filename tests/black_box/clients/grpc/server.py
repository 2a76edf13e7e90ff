"""A gRPC server with one method of each kind. Arguments: certificate and private key, or `-` and `-` for none.

Says its port on stderr, then a line for each call of `Slow` that was cancelled.
"""
import sys
import threading
from concurrent import futures

import grpc


def unary(request, context):
    fields = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-early", "1"),))
    context.set_trailing_metadata((
        ("x-told-user", fields.get("x-auth-user", "")),
        ("x-told-authorization", str("authorization" in fields)),
        ("x-told-note", fields.get("x-note", "")),
        ("x-auth-user", "root"),
    ))
    return request[::-1]


def server_stream(request, _context):
    return (b"%d" % number for number in range(int(request)))


def client_stream(requests, _context):
    return b"%d" % sum(len(request) for request in requests)


def both_streams(requests, _context):
    return (b"echo " + request for request in requests)


def fail(_request, context):
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def slow(_request, context):
    cancelled = threading.Event()
    context.add_callback(cancelled.set)
    if cancelled.wait(20):
        print("cancelled", file=sys.stderr, flush=True)
    return b""


def main(certificate, private_key):
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "BothStreams": grpc.stream_stream_rpc_method_handler(both_streams),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "FailEarly": grpc.stream_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", methods),))
    if certificate == "-":
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        with open(private_key, "rb") as key, open(certificate, "rb") as chain:
            pair = (key.read(), chain.read())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    print("port", port, file=sys.stderr, flush=True)
    server.wait_for_termination()


main(*sys.argv[1:3])

//! Real clients: curl, openssl, HAProxy, grpcio, our own `latchkey isproxy`, and the registrar's own Python package.

mod curl;
mod grpc;
mod haproxy;
mod latchkey;
mod openssl;
mod python;

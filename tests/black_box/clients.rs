//! Real clients: curl, openssl, HAProxy, grpcio, our own `latchkey isproxy`, the registrar's own Python package, and
//! Schemathesis for what the management API says of itself.

mod curl;
mod grpc;
mod haproxy;
mod latchkey;
mod openssl;
pub mod python;
mod schemathesis;
